//! What is copied into an image from this machine.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::DefinitionError;
use super::expand::expand;
use super::tree::{self, Hash};

/// Something that is copied.
#[derive(Debug, Clone)]
pub(super) enum Copy {
    /// To exactly one place.
    Exact {
        source: Source,
        destination: PathBuf,
    },
    /// As a line of a `%files` section says, with its meaning of names and places.
    Line {
        pattern: String,
        destination: String,
    },
    /// As a line of an `%appfiles` section says.
    App {
        heading: String,
        source: String,
        destination: String,
    },
}

/// Where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A file or directory.
    Path(PathBuf),
    /// Here.
    Bytes { content: Vec<u8>, mode: u32 },
}

/// One thing that is copied, and what Apptainer is told of it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) source: Source,
    /// What it is copied under in a folder of its own.
    pub(super) staged: PathBuf,
    /// Whether that folder's contents are copied, so that the name arrives; else it is the file.
    pub(super) is_merged: bool,
    /// The section it stands in.
    pub(super) heading: String,
    /// Where to.
    pub(super) destination: String,
}

impl Copy {
    /// What it copies, one by one.
    pub(super) fn items(&self) -> Result<Vec<Item>, DefinitionError> {
        match self {
            Self::Exact {
                source,
                destination,
            } => Ok(vec![exact(source, destination)?]),
            Self::Line {
                pattern,
                destination,
            } => {
                let paths = expand(pattern)?;
                let item = |path| as_cp_does(path, "%files", destination);
                paths.into_iter().map(item).collect()
            }
            Self::App {
                heading,
                source,
                destination,
            } => Ok(vec![as_cp_does(source.into(), heading, destination)?]),
        }
    }
}

impl Source {
    /// Copies it to `target`, if there is one, and tells what was copied.
    pub(super) fn take(&self, target: Option<&Path>) -> Result<Hash, DefinitionError> {
        match self {
            Self::Path(path) => tree::take(path, target),
            Self::Bytes { content, mode } => tree::write(content, *mode, target),
        }
    }

    fn name(&self) -> Option<&OsStr> {
        match self {
            Self::Path(path) => path.file_name(),
            Self::Bytes { .. } => None,
        }
    }

    fn is_directory(&self) -> Result<bool, DefinitionError> {
        match self {
            Self::Path(path) => {
                let found = fs::metadata(path).map_err(tree::failed(path))?;
                Ok(found.is_dir())
            }
            Self::Bytes { .. } => Ok(false),
        }
    }
}

/// The name of a copy whose own does not matter.
const COPY: &str = "copy";

/// A copy to one place, which need not exist.
fn exact(source: &Source, destination: &Path) -> Result<Item, DefinitionError> {
    let place = place(destination, source.name())?;
    let (destination, hidden) = split(&place);
    let item = |staged, is_merged| Item {
        source: source.clone(),
        staged,
        is_merged,
        heading: "%files".to_owned(),
        destination,
    };
    if let Some(hidden) = hidden {
        return Ok(item(Path::new(COPY).join(hidden), true));
    }
    if source.is_directory()? {
        return Ok(item(COPY.into(), true));
    }
    // `cp` needs its name if there is a directory in its place. Apptainer expands the path with
    // `printf`, and these are that one's.
    let is_told = |name: &&OsStr| !name.as_bytes().iter().any(|byte| b"%\\".contains(byte));
    let name = source.name().filter(is_told).unwrap_or(COPY.as_ref());
    Ok(item(name.into(), false))
}

/// The whole path of what goes to `destination`: into it under its own name if that ends in `/`.
fn place(destination: &Path, name: Option<&OsStr>) -> Result<PathBuf, DefinitionError> {
    let refused = || DefinitionError::Destination {
        destination: destination.to_owned(),
    };
    let bytes = destination.as_os_str().as_bytes();
    let is_strange = |part: Component<'_>| part == Component::ParentDir;
    let is_refused = !destination.is_absolute() || bytes.contains(&0);
    if is_refused || destination.components().any(is_strange) {
        return Err(refused());
    }
    let mut place: PathBuf = destination.components().collect();
    if bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        place.push(name.ok_or_else(refused)?);
    }
    Ok(place)
}

/// A place that can be written into a definition, and the way on from there.
fn split(place: &Path) -> (String, Option<PathBuf>) {
    let is_written = |part: &Component<'_>| {
        let text = part.as_os_str().to_str();
        text.is_some_and(is_writable)
    };
    let written: PathBuf = place.components().take_while(is_written).collect();
    let hidden: PathBuf = place.components().skip_while(is_written).collect();
    let has_hidden = !hidden.as_os_str().is_empty();
    let written = written.to_string_lossy().into_owned();
    (written, has_hidden.then_some(hidden))
}

/// Whether Apptainer reads back what is written between double quotes.
fn is_writable(text: &str) -> bool {
    !text.contains(['"', '\n', '\0'])
}

/// A copy that means what it would if `cp` were told the path itself.
fn as_cp_does(path: PathBuf, heading: &str, destination: &str) -> Result<Item, DefinitionError> {
    let destination = match (destination, path.to_str()) {
        ("", Some(path)) => path,
        ("", None) => "\0",
        (destination, _) => destination,
    };
    if !is_writable(destination) {
        return Err(DefinitionError::Destination { destination: path });
    }
    let bytes = path.as_os_str().as_bytes();
    let is_contents = bytes.ends_with(b"/.") || path.file_name().is_none();
    let name = path.file_name().filter(|_| !is_contents);
    Ok(Item {
        staged: name.unwrap_or(COPY.as_ref()).into(),
        is_merged: is_contents,
        heading: heading.to_owned(),
        destination: destination.to_owned(),
        source: Source::Path(path),
    })
}

/// A name as a shell finds it among no others.
pub(super) fn only_match(name: &OsStr) -> OsString {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+,:@=".contains(letter);
    let name = name.to_string_lossy();
    let letters = name
        .chars()
        .map(|letter| if is_plain(letter) { letter } else { '*' });
    letters.collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_written_as_far_as_it_can_be() {
        let table = [
            ("/a b/c'd", "/a b/c'd", None),
            ("/a/b\"c/d", "/a", Some("b\"c/d")),
            ("/\n", "/", Some("\n")),
        ];
        for (place, written, hidden) in table {
            assert_eq!(
                split(Path::new(place)),
                (written.into(), hidden.map(Into::into))
            );
        }
    }

    #[test]
    fn places_are_absolute_and_own_names_are_kept() {
        let name = Some(OsStr::new("x"));
        let placed = |path: &str, name| place(Path::new(path), name).ok();
        assert_eq!(placed("/a//./b", name), Some("/a/b".into()));
        assert_eq!(placed("/a/", name), Some("/a/x".into()));
        assert_eq!(placed("/", name), Some("/x".into()));
        assert_eq!(placed("/a/", None), None);
        assert_eq!(placed("a", name), None);
        assert_eq!(placed("/a/../b", name), None);
        assert_eq!(placed("/a\0", name), None);
    }
}

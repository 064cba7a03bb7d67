//! Everything that goes into a build.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::files::{Item, only_match};
use super::header::Header;
use super::recipe::Part;
use super::section::{Section, sections};
use super::tree::{Hash, failed, feed};
use super::{DefinitionError, Recipe, template};
use crate::image::Reference;

/// What a build is given: a definition, and the files it copies from this machine, taken out of
/// the way of changes.
#[derive(Debug)]
pub(in crate::image) struct Inputs {
    hash: Hash,
    parts: Vec<Taken>,
}

#[derive(Debug)]
enum Taken {
    Stage(Header),
    Text(String),
}

impl Recipe {
    /// A hash over everything that goes into a build: the definition, filled in, and the files it
    /// copies from this machine. The images that it starts from count by their names alone.
    ///
    /// Blocks: reads all of the files.
    pub(in crate::image) fn fingerprint(&self) -> Result<[u8; 32], DefinitionError> {
        let taken = Taking::all(self, None)?;
        Ok(taken.hash)
    }
}

impl Inputs {
    /// Copies the files into `scratch`, which is there and empty.
    ///
    /// Blocks: copies all of the files, by reference where the file system can.
    pub(in crate::image) fn gather(
        recipe: &Recipe,
        scratch: &Path,
    ) -> Result<Self, DefinitionError> {
        let scratch = std::path::absolute(scratch).map_err(failed(scratch))?;
        Taking::all(recipe, Some(&scratch))
    }

    /// What was copied: equal to [`Recipe::fingerprint`] if nothing changed meanwhile.
    pub(in crate::image) fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The text for `apptainer build`, without any arguments. It needs the files in `scratch`.
    ///
    /// A stage starts from the image file that `base` has for what it starts from; where it has
    /// none, it is left to Apptainer to get what the definition says.
    pub(in crate::image) fn text(
        &self,
        base: impl Fn(&Reference) -> Option<PathBuf>,
    ) -> Result<String, DefinitionError> {
        let mut text = String::new();
        let mut stage = String::new();
        for part in &self.parts {
            match part {
                Taken::Text(part) => stage.push_str(part),
                Taken::Stage(header) => {
                    text.push_str(&escaped(&stage)?);
                    stage = header.with_base(header.base().and_then(&base).as_deref())?;
                }
            }
        }
        text.push_str(&escaped(&stage)?);
        Ok(text)
    }
}

/// A stage as Apptainer fills it in: some longer than it was.
fn escaped(stage: &str) -> Result<String, DefinitionError> {
    let escaped = template::escape(stage);
    let (_, sections) = sections(&escaped);
    sections.iter().try_for_each(Section::check)?;
    Ok(escaped)
}

/// The work of going through a recipe.
struct Taking<'a> {
    scratch: Option<&'a Path>,
    /// How much has been copied.
    count: usize,
    hash: Sha256,
    parts: Vec<Taken>,
}

impl<'a> Taking<'a> {
    fn all(recipe: &Recipe, scratch: Option<&'a Path>) -> Result<Inputs, DefinitionError> {
        let mut hash = Sha256::new();
        feed(&mut hash, b"an image's definition, 1");
        let mut taking = Self {
            scratch,
            count: 0,
            hash,
            parts: Vec::new(),
        };
        for part in recipe.parts() {
            taking.part(part)?;
        }
        Ok(Inputs {
            hash: taking.hash.finalize().into(),
            parts: taking.parts,
        })
    }

    fn part(&mut self, part: &Part) -> Result<(), DefinitionError> {
        match part {
            Part::Stage(header) => {
                self.feed(b"stage", header.identity().as_bytes());
                self.parts.push(Taken::Stage(header.clone()));
            }
            Part::Text(text) => {
                self.feed(b"text", text.as_bytes());
                self.parts.push(Taken::Text(text.clone()));
            }
            Part::Copy(copy) => {
                for item in copy.items()? {
                    self.item(&item)?;
                }
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &Item) -> Result<(), DefinitionError> {
        let folder = self
            .scratch
            .map(|scratch| scratch.join(self.count.to_string()));
        self.count += 1;
        let target = folder.as_ref().map(|folder| folder.join(&item.staged));
        if let Some(target) = &target {
            make_parents(target).map_err(failed(target))?;
        }
        let taken = item.source.take(target.as_deref())?;
        self.feed(b"copy", item.staged.as_os_str().as_bytes());
        self.feed(&[u8::from(item.is_merged)], item.heading.as_bytes());
        self.feed(b"to", item.destination.as_bytes());
        self.feed(b"of", &taken);
        if let Some(folder) = folder {
            self.parts.push(Taken::Text(lines(item, &folder)?));
        }
        Ok(())
    }

    fn feed(&mut self, kind: &[u8], part: &[u8]) {
        feed(&mut self.hash, kind);
        feed(&mut self.hash, part);
    }
}

/// Makes the directories around a copy: in an image they are for everybody.
fn make_parents(target: &Path) -> io::Result<()> {
    let Some(parent) = target.parent() else {
        return Ok(());
    };
    if !parent.exists() {
        make_parents(parent)?;
        fs::create_dir(parent)?;
        fs::set_permissions(parent, Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What Apptainer is told to copy what lies in `folder`: in a section of its own, as a longer one
/// might be too long.
fn lines(item: &Item, folder: &Path) -> Result<String, DefinitionError> {
    let Item {
        heading,
        destination,
        ..
    } = item;
    let unwritable = || DefinitionError::Unwritable {
        path: folder.to_owned(),
    };
    let first = item.staged.iter().next().unwrap_or_default();
    let is_app = heading != "%files";
    let mut path = if is_app {
        let plain = folder
            .to_str()
            .filter(|path| !path.contains([' ', '#', '\n', '\t']));
        plain.ok_or_else(unwritable)?.to_owned()
    } else {
        for_shell(folder).ok_or_else(unwritable)?
    };
    path.push('/');
    let name = if is_app {
        first.to_owned()
    } else {
        only_match(first)
    };
    path.push_str(&name.to_string_lossy());
    if item.is_merged {
        path.push_str("/.");
    }
    Ok(if is_app {
        format!("\n{heading}\n    {path} {destination}\n")
    } else {
        format!("\n{heading}\n    \"{path}\" \"{destination}\"\n")
    })
}

/// A path that a shell, and `printf` after it, leave alone. Apptainer itself hides the blanks.
fn for_shell(path: &Path) -> Option<String> {
    let mut written = String::new();
    for letter in path.to_str()?.chars() {
        match letter {
            '"' | '\n' | '%' | '\\' => return None,
            letter if letter.is_ascii_alphanumeric() || "/._-+,:@= ".contains(letter) => {}
            letter if letter.is_ascii() => written.push('\\'),
            _ => {}
        }
        written.push(letter);
    }
    Some(written)
}

//! Files of the host inside the container.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Reason, Value, csv_field};

/// Whether the container may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Access {
    /// Reading and writing, as the user may: Apptainer's default.
    #[default]
    ReadWrite,
    /// Reading only.
    ReadOnly,
}

/// A file or directory of the host for `--bind`: `source[:destination[:options]]`.
///
/// Colons and commas within the paths are escaped. A backslash before one of them,
/// or at the end, cannot be expressed; [`Mount`] carries every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    source: PathBuf,
    destination: Option<PathBuf>,
    access: Access,
}

impl Bind {
    /// `source` at the same path in the container.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: None,
            access: Access::ReadWrite,
        }
    }

    /// At `destination` in the container instead.
    #[must_use]
    pub fn to(mut self, destination: impl Into<PathBuf>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Only for reading.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }
}

impl Value for Bind {
    fn to_word(&self) -> OsString {
        let mut word = escaped(&self.source);
        let read_only = self.access == Access::ReadOnly;
        if self.destination.is_some() || read_only {
            let destination = self.destination.as_ref().unwrap_or(&self.source);
            word.push(b':');
            word.extend(escaped(destination));
        }
        if read_only {
            word.extend(b":ro");
        }
        OsString::from_vec(word)
    }

    fn check(&self) -> Result<(), Reason> {
        let destination = self.destination.as_ref().unwrap_or(&self.source);
        check_places(&self.source, destination)?;
        if has_escape(&self.source) || has_escape(destination) {
            return Err("a backslash in such a place takes `--mount`");
        }
        Ok(())
    }
}

fn check_places(source: &Path, destination: &Path) -> Result<(), Reason> {
    if source.as_os_str().is_empty() {
        return Err("the source must not be empty");
    }
    if !destination.is_absolute() {
        return Err("the destination must be an absolute path");
    }
    Ok(())
}

/// Apptainer has a word for a colon or comma that does not separate, and none for a
/// backslash that does not escape.
fn escaped(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if b":,".contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// Whether a backslash would escape what follows it.
fn has_escape(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes.ends_with(b"\\")
        || bytes
            .windows(2)
            .any(|pair| pair[0] == b'\\' && b":,".contains(&pair[1]))
}

/// A bind for `--mount`: `type=bind,source=..,destination=..`, the form that
/// carries every path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mount {
    source: PathBuf,
    destination: PathBuf,
    access: Access,
    image_source: Option<PathBuf>,
    image_id: Option<u32>,
}

impl Mount {
    /// `source` of the host at `destination` in the container, writable.
    pub fn bind(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            access: Access::ReadWrite,
            image_source: None,
            image_id: None,
        }
    }

    /// With this access.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// A directory within the source, which is an image: `/` for all of it.
    #[must_use]
    pub fn image_source(mut self, path: impl Into<PathBuf>) -> Self {
        self.image_source = Some(path.into());
        self
    }

    /// The partition, by its number in the source, which is a SIF file.
    #[must_use]
    pub fn image_id(mut self, id: u32) -> Self {
        self.image_id = Some(id);
        self
    }

    /// Where it is on the host.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Where it is in the container.
    pub fn destination(&self) -> &Path {
        &self.destination
    }
}

impl Value for Mount {
    fn to_word(&self) -> OsString {
        let field = |name: &str, path: &Path| {
            let mut field = OsString::from(name);
            field.push(path);
            csv_field(&field)
        };
        let mut word = OsString::from("type=bind,");
        word.push(field("source=", &self.source));
        word.push(",");
        word.push(field("destination=", &self.destination));
        if let Some(path) = &self.image_source {
            word.push(",");
            word.push(field("image-src=", path));
        }
        if let Some(id) = self.image_id {
            word.push(format!(",id={id}"));
        }
        if self.access == Access::ReadOnly {
            word.push(OsStr::new(",ro"));
        }
        word
    }

    fn check(&self) -> Result<(), Reason> {
        if self
            .image_source
            .as_ref()
            .is_some_and(|path| !path.is_absolute())
        {
            return Err("the directory within the image must be an absolute path");
        }
        if self.image_id == Some(0) {
            return Err("partitions are numbered from 1");
        }
        check_places(&self.source, &self.destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_escapes_what_separates() {
        let cases = [
            (Bind::new("/a"), "/a"),
            (Bind::new("/a").to("/b"), "/a:/b"),
            (Bind::new("/a").read_only(), "/a:/a:ro"),
            (Bind::new("/a:b,c\\d").to("/d"), "/a\\:b\\,c\\d:/d"),
        ];
        for (bind, word) in cases {
            assert_eq!(bind.to_word(), word);
        }
    }

    #[test]
    fn a_mount_quotes_what_separates() {
        let mount = Mount::bind("/a,\"b\"", "/c d");
        assert_eq!(
            mount.access(Access::ReadOnly).to_word(),
            "type=bind,\"source=/a,\"\"b\"\"\",destination=/c d,ro"
        );
    }

    #[test]
    fn a_part_of_an_image() {
        let mount = Mount::bind("data.sif", "/data")
            .image_source("/")
            .image_id(3);
        assert_eq!(
            mount.to_word(),
            "type=bind,source=data.sif,destination=/data,image-src=/,id=3"
        );
        assert_eq!(mount.check(), Ok(()));
        assert!(mount.image_source("inside").check().is_err());
    }

    #[test]
    fn what_has_no_place_is_refused() {
        assert!(Mount::bind("/a", "b").check().is_err());
        assert!(Mount::bind("", "/b").check().is_err());
        assert!(Bind::new("").check().is_err());
        assert!(Bind::new("/a").to("b").check().is_err());
        assert!(Bind::new("a").check().is_err());
        assert!(Bind::new("a").read_only().check().is_err());
        assert_eq!(Bind::new("a").to("/b").check(), Ok(()));
        assert!(Mount::bind("/a", "/b").image_id(0).check().is_err());
    }

    #[test]
    fn a_backslash_that_would_escape_is_refused() {
        for path in ["/a\\", "/a\\:b", "/a\\,b"] {
            assert!(Bind::new(path).check().is_err(), "{path}");
            assert!(Bind::new("/a").to(path).check().is_err(), "{path}");
            assert_eq!(Mount::bind(path, path).check(), Ok(()));
        }
        assert_eq!(Bind::new("/a\\b").check(), Ok(()));
    }
}

//! Layers over an image.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Access, Reason, Value};

/// A directory or image that is laid over the container's image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Overlay {
    path: PathBuf,
    access: Access,
}

impl Overlay {
    /// A layer that is written to. One container at a time may have it, and
    /// every container at most one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            access: Access::ReadWrite,
        }
    }

    /// Only for reading; there may be many.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.access = Access::ReadOnly;
        self
    }
}

impl Value for Overlay {
    fn to_word(&self) -> OsString {
        let mut word = self.path.clone().into_os_string();
        if self.access == Access::ReadOnly {
            word.push(":ro");
        }
        word
    }

    fn check(&self) -> Result<(), Reason> {
        let path = self.path.as_os_str().as_bytes();
        if path.is_empty() {
            return Err("the path must not be empty");
        }
        if path.contains(&b':') {
            return Err("Apptainer takes no overlay with a colon in its path");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_would_end_the_path() {
        assert_eq!(
            Overlay::new("layer.img").read_only().to_word(),
            "layer.img:ro"
        );
        assert_eq!(Overlay::new("upper").check(), Ok(()));
        assert!(Overlay::new("").check().is_err());
        assert!(Overlay::new("/a:b").check().is_err());
    }
}

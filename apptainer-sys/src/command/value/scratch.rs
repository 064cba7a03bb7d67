//! Empty directories for a while.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Reason, Value};

/// An empty directory in the container, gone with it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// At `path` in the container.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Value for Scratch {
    fn to_word(&self) -> OsString {
        self.path.to_word()
    }

    /// Apptainer splits the list that it has read once more.
    fn check(&self) -> Result<(), Reason> {
        let path: &OsStr = self.path.as_os_str();
        if path.as_bytes().contains(&b',') {
            return Err("Apptainer takes no scratch directory with a comma in its path");
        }
        if path.is_empty() {
            return Err("the path must not be empty");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_would_end_the_path() {
        assert_eq!(Scratch::at("/scratch").check(), Ok(()));
        assert!(Scratch::at("/a,b").check().is_err());
        assert!(Scratch::at("").check().is_err());
    }
}

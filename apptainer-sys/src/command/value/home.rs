//! The home directory inside.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Reason, Value};

/// A directory of the host that is the home directory in the container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Home {
    source: PathBuf,
    destination: Option<PathBuf>,
}

impl Home {
    /// `source` of the host, at the same path.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: None,
        }
    }

    /// At `destination` in the container instead.
    #[must_use]
    pub fn to(mut self, destination: impl Into<PathBuf>) -> Self {
        self.destination = Some(destination.into());
        self
    }
}

impl Value for Home {
    fn to_word(&self) -> OsString {
        let mut word = self.source.clone().into_os_string();
        if let Some(destination) = &self.destination {
            word.push(":");
            word.push(destination);
        }
        word
    }

    fn check(&self) -> Result<(), Reason> {
        let has_colon = |path: &PathBuf| path.as_os_str().as_bytes().contains(&b':');
        if self.source.as_os_str().is_empty() {
            return Err("the directory must not be empty");
        }
        if has_colon(&self.source) || self.destination.as_ref().is_some_and(has_colon) {
            return Err("Apptainer takes no home directory with a colon in its path");
        }
        if !self
            .destination
            .as_ref()
            .unwrap_or(&self.source)
            .is_absolute()
        {
            return Err("the home directory in the container must be an absolute path");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_has_an_absolute_path_without_colons() {
        assert_eq!(
            Home::new("/srv/home").to("/root").to_word(),
            "/srv/home:/root"
        );
        assert_eq!(Home::new("home").to("/root").check(), Ok(()));
        for home in [
            Home::new(""),
            Home::new("home"),
            Home::new("/a:b"),
            Home::new("/a").to("/b:c"),
            Home::new("/a").to("b"),
        ] {
            assert!(home.check().is_err(), "{home:?}");
        }
    }
}

//! The variables that say where credentials and certificates are.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Variables by name: the process's own, or a test's.
pub(super) struct Environment {
    lookup: Box<Lookup>,
}

impl Environment {
    /// Variables that `lookup` tells.
    pub(super) fn new(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self {
            lookup: Box::new(lookup),
        }
    }

    /// The process's own.
    pub(super) fn of_this_process() -> Self {
        Self::new(|name| std::env::var_os(name))
    }

    /// A variable. One that is empty is not set.
    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A directory. A relative one is none: programs that share it run in many places.
    pub(super) fn directory(&self, name: &str) -> Option<PathBuf> {
        let path = self.get(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    }

    /// Where the user's programs keep their settings.
    pub(super) fn config_home(&self) -> Option<PathBuf> {
        self.directory("XDG_CONFIG_HOME")
            .or_else(|| Some(self.directory("HOME")?.join(".config")))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").finish_non_exhaustive()
    }
}

#[cfg(test)]
impl Environment {
    /// These variables, and no others.
    pub(super) fn of<const N: usize>(variables: [(&str, &std::ffi::OsStr); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self::new(move |name| {
            let mut variables = variables.iter();
            let found = variables.find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_or_relative_is_as_if_it_were_not_set() {
        let environment = Environment::of([
            ("EMPTY", "".as_ref()),
            ("XDG_CONFIG_HOME", "relative".as_ref()),
            ("HOME", "/home/user".as_ref()),
        ]);
        assert_eq!(environment.get("EMPTY"), None);
        assert_eq!(environment.get("OTHER"), None);
        assert_eq!(environment.config_home(), Some("/home/user/.config".into()));
    }
}

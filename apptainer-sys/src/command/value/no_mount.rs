//! Mounts of `apptainer.conf` to leave out.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Reason, Value};

/// Something that `apptainer.conf` has mounted in every container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoMount {
    /// Every `bind path`.
    BindPaths,
    /// The caller's working directory.
    Cwd,
    /// `/dev`.
    Dev,
    /// `/dev/pts`.
    Devpts,
    /// The home directory.
    Home,
    /// All file systems of the host.
    Hostfs,
    /// `/proc`.
    Proc,
    /// `/sys`.
    Sys,
    /// `/tmp` and `/var/tmp`.
    Tmp,
    /// One `bind path`, by its path in the container.
    Path(PathBuf),
}

impl Value for NoMount {
    fn to_word(&self) -> OsString {
        match self {
            Self::BindPaths => "bind-paths",
            Self::Cwd => "cwd",
            Self::Dev => "dev",
            Self::Devpts => "devpts",
            Self::Home => "home",
            Self::Hostfs => "hostfs",
            Self::Proc => "proc",
            Self::Sys => "sys",
            Self::Tmp => "tmp",
            Self::Path(path) => return path.to_word(),
        }
        .into()
    }

    fn check(&self) -> Result<(), Reason> {
        match self {
            Self::Path(path) if !path.is_absolute() => {
                Err("a bind path is named by its absolute path in the container")
            }
            _ => Ok(()),
        }
    }
}

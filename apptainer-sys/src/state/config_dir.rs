//! Where Apptainer keeps a user's files.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

/// A user's configuration directory: `~/.apptainer`, unless `APPTAINER_CONFIGDIR`
/// says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDir {
    path: PathBuf,
}

impl ConfigDir {
    /// The one of this process's user and environment.
    pub fn of_this_user() -> io::Result<Self> {
        let path = match variable("CONFIGDIR") {
            Some(path) => path.into(),
            None => Self::default_path()?,
        };
        Ok(Self { path })
    }

    /// Where it is, and the cache with it, unless the environment says otherwise.
    pub(super) fn default_path() -> io::Result<PathBuf> {
        Ok(home()?.join(".apptainer"))
    }

    /// The one at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The setting of this name in the environment, which Apptainer also takes from
/// Singularity's variables.
pub(super) fn variable(name: &str) -> Option<OsString> {
    ["APPTAINER", "SINGULARITY"]
        .into_iter()
        .filter_map(|prefix| std::env::var_os(format!("{prefix}_{name}")))
        .find(|value| !value.is_empty())
}

/// Apptainer takes the home directory from the user database, not from `HOME`.
fn home() -> io::Result<PathBuf> {
    Ok(this_user()?.dir)
}

pub(super) fn this_user() -> io::Result<User> {
    User::from_uid(Uid::effective())?
        .ok_or_else(|| io::Error::other("this process's user is not in the user database"))
}

/// The name of this host, under which Apptainer keeps what belongs to it alone.
pub fn host_name() -> io::Result<OsString> {
    Ok(nix::unistd::gethostname()?)
}

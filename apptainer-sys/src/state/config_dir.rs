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
        let named = ["APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"]
            .into_iter()
            .find_map(|name| std::env::var_os(name).filter(|value| !value.is_empty()));
        let path = match named {
            Some(path) => path.into(),
            None => home()?.join(".apptainer"),
        };
        Ok(Self { path })
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

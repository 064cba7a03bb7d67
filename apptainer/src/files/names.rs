//! What concerns names: looking at them, making and removing them.

use std::path::{Path, PathBuf};

use super::place::make_dirs;
use super::session::{Remote, Renaming, Session};
use super::{Entry, Files, FilesError, Metadata};
use crate::exec::files_protocol::{Attributes, Removal};

impl Files {
    /// What is at this path, links followed.
    pub async fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, FilesError> {
        self.status(path.as_ref(), true).await
    }

    /// What is at this path; of a link, the link itself.
    pub async fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata, FilesError> {
        self.status(path.as_ref(), false).await
    }

    async fn status(&self, path: &Path, follows: bool) -> Result<Metadata, FilesError> {
        self.name("look at", path, move |session, path| {
            Ok(session.status(path, follows)?)
        })
        .await
    }

    /// Whether something is at this path, links followed. That it cannot be told is an error.
    pub async fn exists(&self, path: impl AsRef<Path>) -> Result<bool, FilesError> {
        match self.metadata(path).await {
            Ok(_) => Ok(true),
            Err(FilesError::NotFound { .. } | FilesError::NotADirectory { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Where the symbolic link at this path leads.
    pub async fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, FilesError> {
        self.name("read the link", path.as_ref(), |session, path| {
            Ok(session.read_link(path)?)
        })
        .await
    }

    /// What is in a directory, by name.
    pub async fn list(&self, path: impl AsRef<Path>) -> Result<Vec<Entry>, FilesError> {
        self.name("list", path.as_ref(), |session, path| {
            Ok(session.list(path)?)
        })
        .await
    }

    /// Makes a directory. That it is there is an error.
    pub async fn make_dir(&self, path: impl AsRef<Path>) -> Result<(), FilesError> {
        self.name("make the directory", path.as_ref(), |session, path| {
            Ok(session.make_directory(path, 0o777, false)?)
        })
        .await
    }

    /// Makes a directory, and those that it is in, where they are not there.
    pub async fn make_dir_all(&self, path: impl AsRef<Path>) -> Result<(), FilesError> {
        let path = self.remote(path)?;
        self.run(move |session| make_dirs(session, &path).map(drop))
            .await
    }

    /// Makes a symbolic link at `path` that leads to `target`, whatever that is.
    pub async fn symlink(
        &self,
        target: impl AsRef<Path>,
        path: impl AsRef<Path>,
    ) -> Result<(), FilesError> {
        let target = Remote::new(target)?;
        self.name("make the link", path.as_ref(), move |session, path| {
            Ok(session.make_link(target.as_c_str(), path, false)?)
        })
        .await
    }

    /// Removes what is at this path, and no directory; of a link, the link itself.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), FilesError> {
        self.remove(path.as_ref(), Removal::File).await
    }

    /// Removes an empty directory.
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> Result<(), FilesError> {
        self.remove(path.as_ref(), Removal::Directory).await
    }

    /// Removes whatever is at this path, with all that is in it. Links are removed, and never
    /// followed. That nothing is there is an error.
    ///
    /// What is mounted below it is gone into, as by `rm -r`: also what is bound from the host, as
    /// Apptainer by itself does with the home and the working directory.
    pub async fn remove_all(&self, path: impl AsRef<Path>) -> Result<(), FilesError> {
        self.remove(path.as_ref(), Removal::All).await
    }

    async fn remove(&self, path: &Path, removal: Removal) -> Result<(), FilesError> {
        self.name("remove", path, move |session, path| {
            Ok(session.remove(removal, path)?)
        })
        .await
    }

    /// Gives a file or directory another name, on the same file system. A file that has that name
    /// is replaced.
    pub async fn rename(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), FilesError> {
        self.give_name(from.as_ref(), to.as_ref(), true).await
    }

    /// The same, and an [error](FilesError::Exists) where something has that name.
    pub async fn rename_new(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> Result<(), FilesError> {
        self.give_name(from.as_ref(), to.as_ref(), false).await
    }

    async fn give_name(&self, from: &Path, to: &Path, replaces: bool) -> Result<(), FilesError> {
        let to = self.remote(to)?;
        let renaming = Renaming {
            replaces,
            syncs: false,
        };
        self.name("rename", from, move |session, from| {
            Ok(session.rename(from, &to, Attributes::default(), renaming)?)
        })
        .await
    }

    /// Sets the permissions of what is at this path, links followed: of `0o7777`.
    pub async fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), FilesError> {
        let attributes = Attributes {
            mode: Some(mode & 0o7777),
            modified: None,
        };
        self.name(
            "set the permissions of",
            path.as_ref(),
            move |session, path| Ok(session.set(path, attributes, true)?),
        )
        .await
    }

    async fn name<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &Path,
        ask: impl FnOnce(&mut Session, &Remote) -> Result<std::io::Result<T>, FilesError>
        + Send
        + 'static,
    ) -> Result<T, FilesError> {
        let path = self.remote(path)?;
        self.run(move |session| {
            ask(session, &path)?.map_err(FilesError::within(doing, path.path()))
        })
        .await
    }
}

//! What every workspace can do, wherever it is.

use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::{CommandResult, GitChange, GitDiff, Workspace, WorkspaceError};

/// What a method of [`BaseWorkspace`] gives: a boxed future of a result.
pub type WorkspaceFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, WorkspaceError>> + Send + 'a>>;

/// How a shell line is run by [`BaseWorkspace::execute`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecuteOptions {
    /// Where: below the working directory, if it is not absolute; the working directory
    /// otherwise.
    pub current_dir: Option<PathBuf>,
    /// How long it may take; as long as it likes otherwise.
    pub timeout: Option<Duration>,
}

impl ExecuteOptions {
    /// In the working directory, for as long as it likes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets where it runs.
    pub fn current_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Sets how long it may take.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }
}

/// What a workspace can do, wherever it is: what works with a `dyn BaseWorkspace` works in a
/// container of this machine and behind an agent server.
///
/// Paths in the workspace begin in its working directory, unless they are absolute. To drop a future
/// calls off what it does, as far as whoever does it can be told.
///
/// ```no_run
/// use apptainer::workspace::{BaseWorkspace, ExecuteOptions, WorkspaceError};
///
/// async fn tests_pass(workspace: &dyn BaseWorkspace) -> Result<bool, WorkspaceError> {
///     let result = workspace.execute("make test".as_ref(), ExecuteOptions::new()).await?;
///     Ok(result.success())
/// }
/// ```
pub trait BaseWorkspace: fmt::Debug + Send + Sync {
    /// Where commands run, unless they say otherwise.
    fn working_dir(&self) -> &Path;

    /// Runs a shell line, and collects what it writes.
    fn execute<'a>(
        &'a self,
        line: &'a OsStr,
        options: ExecuteOptions,
    ) -> WorkspaceFuture<'a, CommandResult>;

    /// Copies a file of the host into it, over what is there, with the directories that are missing.
    /// Says how many bytes that were.
    fn upload<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64>;

    /// Copies a file of it to the host, over what is there, with the directories that are missing.
    /// Says how many bytes that were.
    fn download<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64>;

    /// All that is in a file.
    fn read<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Bytes>;

    /// Makes a file, or replaces what is in one, with the directories that are missing.
    fn write<'a>(&'a self, path: &'a Path, contents: Bytes) -> WorkspaceFuture<'a, ()>;

    /// What has been changed in the repositories of a directory.
    fn git_changes<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Vec<GitChange>>;

    /// A file as it was, and as it is.
    fn git_diff<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, GitDiff>;

    /// Whether it can be used.
    fn is_alive(&self) -> WorkspaceFuture<'_, bool>;

    /// Halts all that runs in it.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Unsupported`] where there is nobody who could.
    fn pause(&self) -> WorkspaceFuture<'_, ()>;

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// [`WorkspaceError::Unsupported`] where there is nobody who could.
    fn resume(&self) -> WorkspaceFuture<'_, ()>;

    /// Ends it, or lets go of it where somebody else has started it.
    fn stop(&self) -> WorkspaceFuture<'_, ()>;
}

impl BaseWorkspace for Workspace {
    fn working_dir(&self) -> &Path {
        self.working_dir()
    }

    fn execute<'a>(
        &'a self,
        line: &'a OsStr,
        options: ExecuteOptions,
    ) -> WorkspaceFuture<'a, CommandResult> {
        let mut execute = self.execute(line);
        if let Some(path) = options.current_dir {
            execute = execute.current_dir(path);
        }
        if let Some(limit) = options.timeout {
            execute = execute.timeout(limit);
        }
        execute.into_future()
    }

    fn upload<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64> {
        Box::pin(async move {
            if let Some(parent) = self.resolve(destination).parent() {
                self.files().make_dir_all(parent).await?;
            }
            Ok(self.files().upload(source, destination).await?.bytes)
        })
    }

    fn download<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64> {
        Box::pin(async move { Ok(self.files().download(source, destination).await?.bytes) })
    }

    fn read<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Bytes> {
        Box::pin(async move { Ok(self.files().read(path).await?) })
    }

    fn write<'a>(&'a self, path: &'a Path, contents: Bytes) -> WorkspaceFuture<'a, ()> {
        Box::pin(async move {
            if let Some(parent) = self.resolve(path).parent() {
                self.files().make_dir_all(parent).await?;
            }
            Ok(self.files().write(path, contents).await?)
        })
    }

    fn git_changes<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Vec<GitChange>> {
        Box::pin(self.git_changes(path))
    }

    fn git_diff<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, GitDiff> {
        Box::pin(self.git_diff(path))
    }

    fn is_alive(&self) -> WorkspaceFuture<'_, bool> {
        let is_alive = self.is_alive();
        Box::pin(async move { Ok(is_alive) })
    }

    fn pause(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(async move { self.pause().await.map(|_| ()) })
    }

    fn resume(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(self.resume())
    }

    fn stop(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(self.stop())
    }
}

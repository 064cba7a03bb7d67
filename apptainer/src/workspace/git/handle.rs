//! Changes and diffs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::compare::Changes;
use super::host::Host;
use super::image::Image;
use super::repository::{Content, Repository, too_large};
use super::{GitChange, GitDiff, GitError, GitProgram, program};
use crate::exec::Command;

/// How long each program may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How many repositories are asked at a time.
const AT_ONCE: usize = 4;

/// Asks git what has been changed in a container.
///
/// The container's own git is run where there is one, otherwise the host's can be. Cheap to clone.
///
/// ```no_run
/// # async fn example(link: apptainer::Link) -> Result<(), Box<dyn std::error::Error>> {
/// use apptainer::workspace::Git;
///
/// let git = Git::new(move |program| link.command(program), "/work");
/// for change in git.changes("repository", None).await? {
///     println!("{} {}", change.status, change.path.display());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Which commit is compared with
///
/// The one that is named: a branch, a tag, a hash, or all else that git takes for one. `HEAD`
/// where there is no commit yet is nothing, so that all is new. Where none is named, as in the
/// Python SDK of OpenHands the one against which all shows that was done here, committed or not:
///
/// 1. what `origin` has of the branch that is checked out; unless that is what is checked out
///    and nothing tracked differs from it;
/// 2. where the branch left the default branch of `origin`, or that branch if they have nothing
///    in common. The repository says which that is, or it is `main` or `master`: no remote is
///    asked;
/// 3. without an `origin`, where the branch left the local `main`, or else `master`, if that has
///    not moved on since;
/// 4. what is checked out.
///
/// # Limitations
///
/// - Takes git 2.17 or later.
/// - What git's variables (`GIT_DIR` and its like) say in the container counts, as for everybody
///   there.
/// - The container's git, before 2.38, refuses a repository that belongs to another user.
/// - The host's git does not look into submodules further below than one directory: only at which
///   commit they have. It knows no filters, so that a file of Git LFS counts as changed once it
///   has been touched; it does not fetch what a partial clone lacks. What leads out of the
///   directory that both see is refused; a link that is made to lead elsewhere at the very
///   moment may be followed.
#[derive(Debug, Clone)]
pub struct Git {
    way: Way,
    directory: PathBuf,
}

#[derive(Debug, Clone)]
enum Way {
    Image(Image),
    Host(Arc<Host>),
}

impl Git {
    /// Asks the container's own git, which `run` runs. Paths are relative to `directory`, an
    /// absolute path in the container.
    ///
    /// It is run as the container is: with its configuration, filters and all.
    pub fn new(
        run: impl Fn(&OsStr) -> Command + Send + Sync + 'static,
        directory: impl Into<PathBuf>,
    ) -> Self {
        let run = Arc::new(run);
        Self {
            way: Way::Image(Image { run, limit: LIMIT }),
            directory: directory.into(),
        }
    }

    /// Asks the host's git, for where the container has none: `mount` on the host is what the
    /// container has at `target`. Paths are those of the container, below `target`, and relative
    /// to `directory`.
    ///
    /// Whoever writes in the container has no program run on the host by this, and nothing is
    /// written: of the repository's configuration only what says how files are stored counts.
    pub fn on_host(
        mount: impl Into<PathBuf>,
        target: impl Into<PathBuf>,
        directory: impl Into<PathBuf>,
    ) -> Self {
        let host = Host {
            mount: mount.into(),
            target: target.into(),
            limit: LIMIT,
        };
        Self {
            way: Way::Host(Arc::new(host)),
            directory: directory.into(),
        }
    }

    /// How long each program may take that is run for this: 30 seconds otherwise. A question
    /// takes up to 8 of them for a repository.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        match &mut self.way {
            Way::Image(image) => image.limit = limit,
            Way::Host(host) => Arc::make_mut(host).limit = limit,
        }
        self
    }

    /// Which git answers. [`GitError::NoGit`] says that there is none.
    ///
    /// Cancel-safe.
    pub async fn which(&self) -> Result<GitProgram, GitError> {
        Ok(match &self.way {
            Way::Image(image) => GitProgram::Image {
                version: program::version(&image.version().await?),
            },
            Way::Host(host) => GitProgram::Host {
                version: program::version(&host.version().await?),
            },
        })
    }

    /// What has been changed below a directory, by path: what is tracked and differs from a
    /// commit, and what is not tracked and not ignored either. A rename is a path that is deleted
    /// and one that is added. Paths are relative to the directory.
    ///
    /// Of the directories in it that are repositories themselves, submodules or not, what has
    /// been changed in them is told, as far as they know the commit. Those further below are told
    /// of as one change.
    ///
    /// # Errors
    ///
    /// Neither the directory nor any directly in it is in a repository, the commit is not known,
    /// git fails.
    ///
    /// Cancel-safe.
    pub async fn changes(
        &self,
        path: impl AsRef<Path>,
        reference: Option<&str>,
    ) -> Result<Vec<GitChange>, GitError> {
        let path = self.directory.join(path);
        let nested = self.way.nested(&path).await?;
        let (own, lack) = match self.way.changes(path.clone(), reference).await {
            Ok(own) => (own, None),
            Err(lack) if lack.is_not_a_repository() && !nested.is_empty() => {
                (Changes::new(), Some(lack))
            }
            Err(error) => return Err(error),
        };
        let is_own = |path: &[u8]| {
            let mut names = path.split(|byte| *byte == b'/');
            let first = names.next().unwrap_or_default();
            !nested.iter().any(|name| name.as_bytes() == first)
        };
        let own = own.into_iter().filter(|(path, _)| is_own(path));
        let mut all: BTreeMap<_, _> = own.map(|(path, status)| (path.to_vec(), status)).collect();
        let asked = self.nested_changes(&path, nested, reference).await?;
        if let Some(lack) = lack.filter(|_| asked.is_empty()) {
            return Err(lack);
        }
        for (name, changes) in asked {
            let place = |below: &[u8]| [name.as_bytes(), b"/", below].concat();
            all.extend(
                changes
                    .into_iter()
                    .map(|(below, status)| (place(&below), status)),
            );
        }
        let change = |(path, status)| GitChange::new(status, OsString::from_vec(path));
        Ok(all.into_iter().map(change).collect())
    }

    /// Those of the repositories of these names in a directory.
    async fn nested_changes(
        &self,
        directory: &Path,
        names: Vec<OsString>,
        reference: Option<&str>,
    ) -> Result<Vec<(OsString, Changes)>, GitError> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut asked = JoinSet::new();
        for name in names {
            let (way, path) = (self.way.clone(), directory.join(&name));
            let (turns, reference) = (Arc::clone(&turns), reference.map(str::to_owned));
            asked.spawn(async move {
                let _turn = turns.acquire().await;
                (name, way.changes(path, reference.as_deref()).await)
            });
        }
        let mut found = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((name, Ok(changes))) => found.push((name, changes)),
                // One that is broken, or does not know the commit, hides no other.
                Ok((name, Err(error))) if error.is_of_the_repository() => {
                    let name = name.display();
                    tracing::debug!(%name, %error, "a repository is left out");
                }
                Ok((_, Err(error))) => return Err(error),
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime is going down, and drops this future with it.
                    Err(_) => std::future::pending().await,
                },
            }
        }
        Ok(found)
    }

    /// A file as it was in a commit, and as it is. A symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// Either side is larger than [`MAX_DIFF_BYTES`](super::MAX_DIFF_BYTES), neither has such a file,
    /// it is in no repository, the commit is not known, git fails.
    ///
    /// Cancel-safe.
    pub async fn diff(
        &self,
        path: impl AsRef<Path>,
        reference: Option<&str>,
    ) -> Result<GitDiff, GitError> {
        let path = self.directory.join(path);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(GitError::NoSuchFile { path });
        };
        let content = match self.way.read(directory, name).await {
            Ok(Content::TooLarge(size)) => return Err(too_large(&path, size)),
            Ok(Content::Some(content)) => Some(content),
            Ok(Content::None) => None,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let (opened, below) = match self.way.open_above(directory, name).await {
            Err(GitError::NotARepository { .. } | GitError::NoSuchFile { .. })
                if content.is_none() =>
            {
                return Err(GitError::NoSuchFile { path });
            }
            opened => opened?,
        };
        let original = opened.original(&path, &below, reference).await?;
        if content.is_none() && original.is_none() {
            return Err(GitError::NoSuchFile { path });
        }
        Ok(GitDiff::new(content, original))
    }
}

impl GitError {
    /// Whether another repository may do.
    fn is_of_the_repository(&self) -> bool {
        matches!(
            self,
            Self::NotARepository { .. }
                | Self::Bare { .. }
                | Self::UnknownRef { .. }
                | Self::Failed { .. }
                | Self::Outside { .. }
                | Self::NoSuchFile { .. }
        )
    }
}

impl Way {
    async fn open(&self, directory: PathBuf) -> Result<Repository, GitError> {
        Ok(match self {
            Self::Image(image) => Repository::Image(image.open(directory).await?),
            Self::Host(host) => Repository::Host(Host::open(host, directory).await?),
        })
    }

    /// The next directory above a file that is there, and the file's path below it.
    async fn open_above(
        &self,
        directory: &Path,
        name: &OsStr,
    ) -> Result<(Repository, PathBuf), GitError> {
        let mut directory = directory;
        let mut below = PathBuf::from(name);
        loop {
            match (self.open(directory.to_owned()).await, directory.parent()) {
                (Err(GitError::NoSuchFile { path }), Some(parent)) => {
                    let Some(name) = directory.file_name() else {
                        return Err(GitError::NoSuchFile { path });
                    };
                    below = Path::new(name).join(below);
                    directory = parent;
                }
                (opened, _) => return Ok((opened?, below)),
            }
        }
    }

    async fn nested(&self, directory: &Path) -> Result<Vec<OsString>, GitError> {
        match self {
            Self::Image(image) => image.nested(directory).await,
            Self::Host(host) => Host::nested(host, directory.to_owned()).await,
        }
    }

    async fn read(&self, directory: &Path, name: &OsStr) -> Result<Content, GitError> {
        match self {
            Self::Image(image) => image.read(directory, name).await,
            Self::Host(host) => Host::read(host, directory.to_owned(), name.to_owned()).await,
        }
    }

    /// What has been changed below a directory, without regard to repositories in it.
    async fn changes(
        &self,
        directory: PathBuf,
        reference: Option<&str>,
    ) -> Result<Changes, GitError> {
        let opened = self.open(directory).await?;
        opened.changes(reference).await
    }
}

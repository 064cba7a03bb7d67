//! Running the host's git on files that a container may have written.
//!
//! It sees a directory of ours in place of the repository's own: a copy of its index, links to its
//! objects and branches, and a configuration of ours. So nothing that is configured in the
//! repository is heard of, nothing is written, and nothing that changes meanwhile can change that.

mod beneath;
mod find;
mod settings;
mod shadow;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Spawn, Stdio};
use bytes::Bytes;
use tokio::time::Instant;

use super::GitError;
use super::ran::{MOST, Ran};
use super::repository::{Content, SETTINGS, words};
use crate::blocking::blocking;
use crate::process::{Keep, Run, RunError};
use find::Found;
use shadow::Shadow;

/// A directory that the host and a container share.
#[derive(Debug, Clone)]
pub(super) struct Host {
    /// Where the host has it.
    pub(super) mount: PathBuf,
    /// Where the container has it.
    pub(super) target: PathBuf,
    pub(super) limit: Duration,
}

/// A directory in a repository.
#[derive(Debug)]
pub(super) struct Repository {
    host: Arc<Host>,
    shadow: Shadow,
    /// The top of what is checked out, as the host has it.
    top: PathBuf,
    /// As the container has it.
    pub(super) directory: PathBuf,
    /// Where in the repository it is: empty, or with a slash at its end.
    pub(super) prefix: Bytes,
}

impl Host {
    pub(super) async fn open(host: &Arc<Self>, directory: PathBuf) -> Result<Repository, GitError> {
        let (place, asked) = (Arc::clone(host), directory.clone());
        let found = blocking(move || Found::new(&place, &asked)).await?;
        let settings = host.settings(&found).await?;
        let Found { top, below, .. } = found.clone();
        let mut prefix = below.into_os_string();
        if !prefix.is_empty() {
            prefix.push("/");
        }
        let place = Arc::clone(host);
        let shadow = blocking(move || Shadow::new(&place, &found, &settings)).await?;
        Ok(Repository {
            host: Arc::clone(host),
            shadow,
            top,
            directory,
            prefix: Bytes::copy_from_slice(prefix.as_bytes()),
        })
    }

    /// The names of the directories in this one that are repositories.
    pub(super) async fn nested(
        host: &Arc<Self>,
        directory: PathBuf,
    ) -> Result<Vec<OsString>, GitError> {
        let host = Arc::clone(host);
        blocking(move || host.list_nested(&directory)).await
    }

    fn list_nested(&self, directory: &Path) -> Result<Vec<OsString>, GitError> {
        let below = self.resolve(directory)?;
        let path = self.mount.join(&below);
        let failed = |source| GitError::Io {
            path: path.clone(),
            source,
        };
        let is_repository = |name: &OsStr| {
            let is_hidden = name.as_bytes().starts_with(b".");
            let git = directory.join(name).join(".git");
            !is_hidden && self.resolve(&git).is_ok()
        };
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                let path = directory.to_owned();
                return Err(GitError::NoSuchFile { path });
            }
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let name = entry.file_name();
            if (kind.is_dir() || kind.is_symlink()) && is_repository(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// What a file in this directory holds.
    pub(super) async fn read(
        host: &Arc<Self>,
        directory: PathBuf,
        name: OsString,
    ) -> Result<Content, GitError> {
        let host = Arc::clone(host);
        blocking(move || {
            let below = host.resolve(&directory)?.join(name);
            beneath::content(&host.mount, &below)
        })
        .await
    }

    pub(super) async fn version(&self) -> Result<Bytes, GitError> {
        let ran = self.run(words(["--version"]), Path::new("/"), Vec::new());
        ran.await?.success()
    }

    async fn run(
        &self,
        argv: Vec<OsString>,
        directory: &Path,
        variables: Vec<(OsString, OsString)>,
    ) -> Result<Ran, GitError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = git(&path).ok_or(GitError::NoGit)?;
        let mut environment = variables;
        let pairs = SAFE.map(|(name, value)| (name.into(), value.into()));
        environment.extend(pairs);
        environment.push(("PATH".into(), path));
        let make = || {
            let mut spawn = Spawn::new(&program);
            spawn
                .args(argv.iter().cloned())
                .env(environment.iter().cloned())
                .current_dir(directory)
                .stdout(Stdio::pipe());
            Ok(spawn)
        };
        let run = Run {
            deadline: Instant::now() + self.limit,
            stdout: Keep::Whole(MOST),
            heard: &mut |_| (),
        };
        let ended = run.run(make, ()).await.map_err(|error| match error {
            RunError::Make(error) => error,
            RunError::Spawn(error) => GitError::Spawn(error),
            RunError::Io(source) => GitError::Io {
                path: directory.to_owned(),
                source,
            },
            RunError::TimedOut => GitError::Timeout {
                argv: argv.clone(),
                limit: self.limit,
            },
        })?;
        Ok(Ran {
            exit: ended.exit,
            stderr: ended.stderr_text(),
            stdout: ended.stdout.into(),
            argv: ended.argv,
        })
    }
}

/// What keeps git from running, asking, fetching, writing or reading what it need not.
const SAFE: [(&str, &str); 13] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    // No protocol at all.
    ("GIT_ALLOW_PROTOCOL", ""),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_PAGER", "cat"),
    ("GIT_EDITOR", "false"),
    ("GIT_ASKPASS", "false"),
    // Where it would look for settings of the user's.
    ("HOME", "/nonexistent"),
    ("LC_ALL", "C"),
];

/// What no setting may say otherwise.
const CLOSED: [&str; 6] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.attributesFile=/dev/null",
    "-c",
    "core.excludesFile=/dev/null",
];

/// The first program of this name on the path. Which that is does not depend on where it is run.
fn git(path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join("git"))
        .find(|candidate| {
            let found = fs::metadata(candidate);
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

impl Repository {
    pub(super) async fn git(&self, asked: Vec<OsString>) -> Result<Ran, GitError> {
        let variables = vec![
            ("GIT_DIR".into(), self.shadow.path().into()),
            ("GIT_WORK_TREE".into(), self.top.clone().into()),
            (
                "GIT_ALTERNATE_OBJECT_DIRECTORIES".into(),
                self.shadow.alternates().to_owned(),
            ),
        ];
        let mut argv = words(CLOSED);
        argv.extend(words(SETTINGS));
        argv.extend(asked);
        let directory = self.top.join(OsStr::from_bytes(&self.prefix));
        self.host.run(argv, &directory, variables).await
    }
}

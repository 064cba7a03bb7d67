//! Running the container's own git.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::GitError;
use super::diff::MAX_DIFF_BYTES;
use super::ran::{MOST, Ran};
use super::repository::{Content, SETTINGS, words};
use crate::exec::{Command, ExecError};

/// How the container is asked to run a program.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) run: Arc<dyn Fn(&OsStr) -> Command + Send + Sync>,
    pub(super) limit: Duration,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Says which directories in this one hold repositories, as `*/` finds them. git is there, so a
/// shell is: some of git's own commands are scripts.
const NESTED: &str = r#"for d in */; do [ -e "$d.git" ] && printf '%s\0' "$d"; done; exit 0"#;

/// Writes what kind of file it is asked about, how large it is, and what it holds. The name is an
/// argument, so the shell reads nothing into it.
const READ: &str = r#"
if [ -L "$1" ]; then echo link; exec readlink -n "$1"
elif [ -f "$1" ]; then
    size=$(($(wc -c <"$1"))) || exit
    echo "$size"
    [ "$size" -gt "$2" ] || exec cat "$1"
else echo none
fi"#;

impl Image {
    pub(super) async fn open(&self, directory: PathBuf) -> Result<Repository, GitError> {
        let mut opened = Repository {
            image: self.clone(),
            directory,
            prefix: Bytes::new(),
        };
        let args = words(["rev-parse", "--is-inside-work-tree", "--show-prefix"]);
        let ran = opened.git(args).await?;
        if !ran.exit.success() {
            return Err(ran.failed_in(&opened.directory));
        }
        let Some(prefix) = ran.stdout.strip_prefix(b"true\n") else {
            let path = opened.directory;
            return Err(GitError::Bare { path });
        };
        // It is a line, even where a name in it has an end of line.
        let prefix = prefix.strip_suffix(b"\n").unwrap_or(prefix);
        opened.prefix = ran.stdout.slice_ref(prefix);
        Ok(opened)
    }

    /// The names of the directories in this one that are repositories.
    pub(super) async fn nested(&self, directory: &Path) -> Result<Vec<OsString>, GitError> {
        let listed = self.script(NESTED, directory, &[], MOST).await?.success()?;
        let names = listed
            .split(|byte| *byte == 0)
            .filter_map(|name| name.strip_suffix(b"/"));
        Ok(names
            .map(|name| OsStr::from_bytes(name).to_owned())
            .collect())
    }

    /// What a file in this directory holds.
    pub(super) async fn read(&self, directory: &Path, name: &OsStr) -> Result<Content, GitError> {
        let most = usize::try_from(MAX_DIFF_BYTES).unwrap_or(usize::MAX);
        // A name may begin like an option.
        let args = [
            Path::new(".").join(name).into(),
            MAX_DIFF_BYTES.to_string().into(),
        ];
        let read = self.script(READ, directory, &args, most + 64).await?;
        let unexpected = |read: &Bytes| Ran::unexpected(&args, &read[..read.len().min(64)]);
        let read = match read.success() {
            // It was removed meanwhile, or may not be read.
            Err(GitError::Failed { stderr, .. }) if stderr.contains("No such file") => {
                return Ok(Content::None);
            }
            read => read?,
        };
        let end = read.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| unexpected(&read))?;
        let content = read.slice(end + 1..);
        let size = match &read[..end] {
            b"none" => return Ok(Content::None),
            b"link" => content.len() as u64,
            size => {
                let size = std::str::from_utf8(size)
                    .ok()
                    .and_then(|size| size.parse().ok());
                // It may have grown.
                size.map(|size: u64| size.max(content.len() as u64))
                    .ok_or_else(|| unexpected(&read))?
            }
        };
        Ok(Content::of(content, size))
    }

    pub(super) async fn version(&self) -> Result<Bytes, GitError> {
        let mut command = (self.run)("git".as_ref());
        let args = words(["--version"]);
        self.run(&mut command, args, Path::new(""), MOST)
            .await?
            .success()
    }

    async fn script(
        &self,
        script: &str,
        directory: &Path,
        args: &[OsString],
        most: usize,
    ) -> Result<Ran, GitError> {
        let mut command = (self.run)("sh".as_ref());
        command.current_dir(directory);
        let mut words = words(["-c", script, "sh"]);
        words.extend(args.iter().cloned());
        self.run(&mut command, words, directory, most).await
    }

    async fn run(
        &self,
        command: &mut Command,
        argv: Vec<OsString>,
        directory: &Path,
        most: usize,
    ) -> Result<Ran, GitError> {
        command
            .args(&argv)
            .env("LC_ALL", "C")
            .timeout(self.limit)
            .grace(Duration::from_secs(1))
            .output_limit(most);
        let output = command
            .output()
            .await
            .map_err(|error| understood(error, directory))?;
        if output.timed_out {
            let limit = self.limit;
            return Err(GitError::Timeout { argv, limit });
        }
        if let Some(omission) = output.stdout_omission {
            return Err(GitError::TooLarge {
                path: directory.to_owned(),
                size: most as u64 + omission.bytes,
                limit: most as u64,
            });
        }
        Ok(Ran {
            stderr: output.stderr_text(),
            exit: output.status.exit(),
            stdout: output.stdout,
            argv,
        })
    }
}

fn understood(error: ExecError, directory: &Path) -> GitError {
    if error.is_command_not_found() {
        GitError::NoGit
    } else if error.is_working_directory() {
        let path = directory.to_owned();
        GitError::NoSuchFile { path }
    } else {
        error.into()
    }
}

/// A directory in a repository.
#[derive(Debug)]
pub(super) struct Repository {
    image: Image,
    pub(super) directory: PathBuf,
    /// Where in the repository it is: empty, or with a slash at its end.
    pub(super) prefix: Bytes,
}

impl Repository {
    pub(super) async fn git(&self, args: Vec<OsString>) -> Result<Ran, GitError> {
        let mut command = (self.image.run)("git".as_ref());
        command
            .current_dir(&self.directory)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Whoever owns the files: the container is where they are worked on.
            .args(["-c", "safe.directory=*"])
            .args(SETTINGS);
        self.image
            .run(&mut command, args, &self.directory, MOST)
            .await
    }
}

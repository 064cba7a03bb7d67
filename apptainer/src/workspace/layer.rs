//! Copying what was written to a container.

use std::any::Any;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::{Pid, Spawn, Stdio};
use tokio::time::Instant;

use super::WorkspaceError;
use crate::blocking::blocking;
use crate::folders::{make_private, remove_all};
use crate::process::{Keep, Run, RunError};

/// A folder that is removed when it is dropped.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_all(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "cannot remove the copy of a layer");
        }
    }
}

/// A copy of what was written to a container. Dropped, it is removed.
#[derive(Debug)]
pub(super) struct Copied(Arc<Scratch>);

impl Copied {
    /// Moves it to where nothing is.
    pub(super) fn place(&self, upper: &Path) -> io::Result<()> {
        fs::rename(self.0.0.join("upper"), upper)
    }
}

/// Whose the files of a copy are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owners {
    /// Those whose they were, among the users of the container.
    Same,
    /// This user's, unless that is root, whose copy can be of anybody's.
    ThisUser,
}

/// How long copying may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// Copies what lies in the folder of a layer to beside that, with the marks of what it takes away
/// from the image, and whoever it belongs to among the users of the container whose first process
/// is given.
///
/// Dropping the future ends it, and what has been copied is removed then.
pub(super) async fn copy(layer: &Path, first: Pid) -> Result<Copied, WorkspaceError> {
    let failed = failed(layer);
    // Where it is removed with the workspace, whatever becomes of this program.
    let room = layer.parent().unwrap_or(layer);
    let folder = tempfile::Builder::new().prefix("copy-").tempdir_in(room);
    let folder = folder.map_err(&failed)?.keep();
    let scratch = Arc::new(Scratch(folder));
    make_private(&scratch.0).map_err(&failed)?;
    let target = scratch.0.join("upper");
    let copied = copy_to(layer, first, &target, Owners::Same, Arc::clone(&scratch));
    match copied.await {
        Ok(()) => Ok(Copied(scratch)),
        Err(error) => {
            blocking(move || drop(scratch)).await;
            Err(error)
        }
    }
}

/// The same to `target`, which is an empty directory, or not there. What is kept is let go of when
/// nobody writes there any more.
pub(super) async fn copy_to(
    layer: &Path,
    first: Pid,
    target: &Path,
    owners: Owners,
    keep: impl Any + Send,
) -> Result<(), WorkspaceError> {
    let failed = failed(layer);
    let map = fs::read_to_string(format!("/proc/{first}/uid_map")).map_err(&failed)?;
    let mut words: Vec<OsString> = vec!["/usr/bin/env".into()];
    if map.lines().count() > 1 {
        // Files may belong to others than this user.
        words.extend(["unshare", "--user", "--map-root-user", "--map-auto"].map(OsString::from));
    }
    words.extend(["cp", "-a", "-T", "--reflink=auto"].map(OsString::from));
    if owners == Owners::ThisUser && !nix::unistd::geteuid().is_root() {
        words.push("--no-preserve=ownership".into());
    }
    words.extend(["--".into(), layer.join("upper").into(), target.into()]);
    let run = Run {
        deadline: Instant::now() + LIMIT,
        stdout: Keep::End,
        heard: &mut |_| {},
    };
    let make = || {
        let mut spawn = Spawn::new(&words[0]);
        spawn
            .args(&words[1..])
            .set_env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .set_env("LC_ALL", "C")
            .stdin(Stdio::Null)
            .stdout(Stdio::Null)
            .stderr(Stdio::pipe());
        Ok::<_, io::Error>(spawn)
    };
    let ended = run.run(make, keep).await.map_err(|error| match error {
        RunError::Make(error) | RunError::Io(error) => failed(error),
        RunError::Spawn(error) => failed(io::Error::other(error)),
        RunError::TimedOut => failed(io::ErrorKind::TimedOut.into()),
    })?;
    if ended.exit.success() {
        Ok(())
    } else {
        Err(failed(io::Error::other(ended.stderr_text())))
    }
}

fn failed(layer: &Path) -> impl Fn(io::Error) -> WorkspaceError {
    let path = layer.to_owned();
    move |source| WorkspaceError::Layer {
        path: path.clone(),
        source,
    }
}

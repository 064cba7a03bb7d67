//! Ending a run of `apptainer`, in the order that lets it clean up.
//!
//! `apptainer exec` stays on the host as the parent of the payload and of the
//! FUSE programs that serve its image. Killing it first would leave both behind;
//! a signal to it while it joins an instance is not passed on. So signals go to
//! the payload. When that has ended, `apptainer` takes its helpers down and
//! exits by itself.

use std::io;
use std::time::Duration;

use apptainer_sys::process::{Member, Pid, PidFd, Signal, Tree};

use super::Ended;

/// How long `apptainer` may take to clean up once its payload has been killed.
/// Unmounting a FUSE file system takes it up to two seconds.
pub(super) const CLEAN_UP: Duration = Duration::from_secs(4);

/// FUSE programs that Apptainer starts to serve images and overlays.
const HELPERS: &[&str] = &[
    "squashfuse",
    "squashfuse_ll",
    "fuse-overlayfs",
    "fuse2fs",
    "gocryptfs",
    "fusermount",
    "fusermount3",
];

/// The first process of a PID namespace, Apptainer's own.
const INIT: &str = "appinit";

/// A helper is served by Apptainer's own process, and never below the payload.
fn is_helper(member: &Member, root: Pid) -> bool {
    let process = &member.process;
    process.parent == root && HELPERS.contains(&process.name.as_str())
}

/// Sends `signal` to what runs in the container below `root`.
///
/// A namespace's init is left out when it has children, for it would pass the
/// signal on to those that have had it already.
pub(crate) fn signal_payload(root: Pid, signal: Signal) -> io::Result<()> {
    let tree = Tree::below(root)?;
    let payload = tree
        .members()
        .iter()
        .filter(|member| !is_helper(member, root));
    let is_parent = |pid: Pid| {
        tree.members()
            .iter()
            .any(|member| member.process.parent == pid)
    };
    for member in payload {
        if member.process.name == INIT && is_parent(member.process.pid) {
            continue;
        }
        member.pidfd.signal(signal)?;
    }
    Ok(())
}

/// Kills what runs in the container below `root`, and `root` too when nothing
/// does yet. What is left of it then ends by itself.
///
/// Everything is halted first, so that nothing gets away by forking.
pub(crate) fn kill_payload(root: Pid, root_fd: &PidFd) -> io::Result<()> {
    root_fd.signal(Signal::STOP)?;
    let tree = Tree::halted_below(root);
    let killed = tree.and_then(|tree| {
        let (helpers, payload): (Vec<_>, Vec<_>) = tree
            .members()
            .iter()
            .partition(|member| is_helper(member, root));
        for member in &payload {
            member.pidfd.signal(Signal::KILL)?;
        }
        if payload.is_empty() {
            root_fd.signal(Signal::KILL)?;
        }
        for helper in helpers {
            let signal = if payload.is_empty() {
                Signal::KILL
            } else {
                Signal::CONT
            };
            helper.pidfd.signal(signal)?;
        }
        Ok(())
    });
    root_fd.signal(Signal::CONT)?;
    killed
}

/// Kills what runs in the container below `root` and waits until `root` has
/// ended, which is made to where it does not by itself.
pub(crate) async fn kill(root: Pid, ended: &Ended) -> io::Result<()> {
    kill_payload(root, ended.pidfd())?;
    if let Ok(ended) = tokio::time::timeout(CLEAN_UP, ended.wait()).await {
        return ended;
    }
    kill_everything(root, ended.pidfd())?;
    ended.wait().await
}

/// Kills `root` and everything below it, helpers too.
pub(super) fn kill_everything(root: Pid, root_fd: &PidFd) -> io::Result<()> {
    root_fd.signal(Signal::STOP)?;
    let tree = Tree::halted_below(root)?;
    for member in tree.members() {
        member.pidfd.signal(Signal::KILL)?;
    }
    root_fd.signal(Signal::KILL)
}

/// Kills what a dead session leader left behind.
pub(super) fn sweep(root: Pid) -> io::Result<()> {
    for member in Tree::below(root)?.members() {
        if member.process.session == root {
            member.pidfd.signal(Signal::KILL)?;
        }
    }
    Ok(())
}

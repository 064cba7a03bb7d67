//! Ending a run of `apptainer`, in the order that lets it clean up.
//!
//! `apptainer exec` stays on the host as the parent of the payload and of the
//! FUSE programs that serve its image. Killing it first would leave both behind;
//! a signal to it while it joins an instance is not passed on. So signals go to
//! the payload. When that has ended, `apptainer` takes its helpers down and
//! exits by itself.

use std::io;
use std::time::Duration;

use apptainer_sys::process::{Child, Exit, Member, Pid, PidFd, Signal, Tree};

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
pub(crate) const INIT: &str = "appinit";

/// A helper is served by Apptainer's own process, and never below the payload.
fn is_helper(member: &Member, root: Pid) -> bool {
    member.process.parent == root && is_named_as_helper(member)
}

fn is_named_as_helper(member: &Member) -> bool {
    HELPERS.contains(&member.process.name.as_str())
}

/// Sends `signal` to what runs in the container below `root`.
///
/// A namespace's init is left out when it has children, for it would pass the
/// signal on to those that have had it already.
pub(super) fn signal_payload(root: Pid, root_fd: &PidFd, signal: Signal) -> io::Result<()> {
    let tree = Tree::below(root)?;
    // Reaped meanwhile, its pid might have stood for another process.
    if root_fd.has_ended()? {
        return Ok(());
    }
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
/// Everything is halted first, so that nothing gets away by forking. Gives back
/// what it has killed.
pub(super) fn kill_payload(root: Pid, root_fd: &PidFd) -> io::Result<Vec<Member>> {
    root_fd.signal(Signal::STOP)?;
    // Halted it cannot end, so its pid stays its own.
    if root_fd.has_ended()? {
        return Ok(Vec::new());
    }
    let tree = Tree::halted_below(root);
    let killed = tree.and_then(|tree| {
        let members = tree.into_members();
        let is_helper = |member: &Member| is_helper(member, root);
        let (helpers, payload): (Vec<_>, Vec<_>) = members.into_iter().partition(is_helper);
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
        Ok(payload)
    });
    root_fd.signal(Signal::CONT)?;
    killed
}

/// Kills `root` and everything below it, helpers too.
pub(super) fn kill_everything(root: Pid, root_fd: &PidFd) -> io::Result<()> {
    root_fd.signal(Signal::STOP)?;
    if root_fd.has_ended()? {
        return Ok(());
    }
    let tree = Tree::halted_below(root)?;
    for member in tree.members() {
        member.pidfd.signal(Signal::KILL)?;
    }
    root_fd.signal(Signal::KILL)
}

/// Kills what `root` left, which has ended and not been reaped: all of its session
/// where it was to be killed, else the helpers that it did not live to take down.
/// Gives back what it has killed.
fn sweep(root: &Child, exit: Exit, was_killed: bool) -> io::Result<Vec<Member>> {
    // 255 is what it ends with when it fails midway.
    let may_leave_helpers = matches!(exit, Exit::Signal(_) | Exit::Code(255));
    if !was_killed && !may_leave_helpers {
        return Ok(Vec::new());
    }
    let session = root.pid();
    let mut left = Tree::below(session)?.into_members();
    left.retain(|member| {
        member.process.session == session && (was_killed || is_named_as_helper(member))
    });
    for member in &left {
        member.pidfd.signal(Signal::KILL)?;
    }
    Ok(left)
}

/// Reaps `root` if it has ended, and first kills what it left: while it has not
/// been reaped, its pid is its own.
pub(super) fn reap(root: &mut Child, was_killed: bool) -> io::Result<Option<Exit>> {
    if !root.is_reaped()
        && let Some(exit) = root.peek()?
    {
        sweep(root, exit, was_killed)?;
    }
    root.try_wait()
}

/// The same, and waits until what it left has ended too.
pub(super) async fn reap_all(root: &mut Child, was_killed: bool) -> io::Result<Option<Exit>> {
    if !root.is_reaped()
        && let Some(exit) = root.peek()?
    {
        gone(&sweep(root, exit, was_killed)?).await?;
    }
    root.try_wait()
}

/// Waits until all that was killed has ended. What waits for a file system that
/// does not answer may take for ever, and is left behind.
pub(super) async fn gone(killed: &[Member]) -> io::Result<()> {
    let all = async {
        for member in killed {
            if !member.pidfd.has_ended()? {
                Ended::of(&member.pidfd)?.wait().await?;
            }
        }
        Ok(())
    };
    tokio::time::timeout(CLEAN_UP, all)
        .await
        .unwrap_or_else(|_| {
            tracing::warn!("processes that were killed have not ended");
            Ok(())
        })
}

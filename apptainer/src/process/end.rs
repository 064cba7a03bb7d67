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
/// Everything is halted first, so that nothing gets away by forking.
pub(super) fn kill_payload(root: Pid, root_fd: &PidFd) -> io::Result<()> {
    root_fd.signal(Signal::STOP)?;
    // Halted it cannot end, so its pid stays its own.
    if root_fd.has_ended()? {
        return Ok(());
    }
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

/// Reaps `root` if it has ended, and first kills what it left: all of its session
/// where it was to be killed, else the helpers that it did not live to take down.
pub(super) fn reap(root: &mut Child, was_killed: bool) -> io::Result<Option<Exit>> {
    if root.is_reaped() {
        return root.try_wait();
    }
    let Some(exit) = root.peek()? else {
        return Ok(None);
    };
    // 255 is what it ends with when it fails midway.
    let may_leave_helpers = matches!(exit, Exit::Signal(_) | Exit::Code(255));
    if was_killed || may_leave_helpers {
        for member in Tree::below(root.pid())?.members() {
            let is_left = was_killed || is_named_as_helper(member);
            if is_left && member.process.session == root.pid() {
                member.pidfd.signal(Signal::KILL)?;
            }
        }
    }
    root.try_wait()
}

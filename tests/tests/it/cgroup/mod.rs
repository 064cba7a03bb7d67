//! Cgroups of the real kernel, in whatever versions it has.
//!
//! Root may make them; other users only where that was delegated to them, and are
//! told so otherwise.

mod agent;
mod group;
mod kill;
mod limit;
mod place;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use apptainer::sys::cgroup::{
    BlockDevice, Cgroup, CgroupError, Controller, Cpus, Event, IoLimit, Limit, Limits, Mechanism,
    Version,
};
use apptainer::sys::process::{self, Child, Exit, Session, Signal, Spawn, Stdio};
use fixtures::World;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

const CONTROLLERS: &[Controller] = &[
    Controller::Cpu,
    Controller::CpuSet,
    Controller::Io,
    Controller::Memory,
    Controller::Pids,
];

/// A group that is gone at the end of its test, with all that is in it.
struct Group(Cgroup);

impl Group {
    /// `None` for a user to whom nothing is delegated.
    fn new(name: &str) -> Option<Self> {
        let name = format!("apptainer-rs-{}-{name}", std::process::id());
        let parent = Self::parent();
        match parent.create(&name, CONTROLLERS) {
            Ok(group) => Some(Self(group)),
            Err(CgroupError::NotDelegated { .. }) if !is_root() => None,
            Err(CgroupError::HasProcesses { .. }) => {
                // Of version 2, and not its root: we have to make room first, and are
                // one below from then on.
                let room = parent.create("apptainer-rs-room", &[]).unwrap();
                parent.move_processes(&room).unwrap();
                Self::new(&name)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The group that groups are made in: our own, or the one above once there had
    /// to be made room.
    fn parent() -> Cgroup {
        let current = Cgroup::current().unwrap();
        let has_room = |folder: &Path| folder.ends_with("apptainer-rs-room");
        if current.unified().is_some_and(has_room) {
            return current.parent().unwrap();
        }
        current
    }

    /// A shell that has been started in it, and has said that it is ready.
    fn shell(&self, script: &str) -> Child {
        let mut spawn = shell(script);
        spawn.cgroup(self.0.placement().unwrap());
        ready(spawn)
    }
}

impl std::ops::Deref for Group {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What a failed test leaves must not fail the next.
        let _ = self.0.kill(LIMIT);
        let _ = self.0.remove();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn shell(script: &str) -> Spawn {
    let mut spawn = Spawn::new("/bin/sh");
    spawn
        .args(["-c", script])
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe());
    spawn
}

/// Started, and has printed a line.
fn ready(spawn: Spawn) -> Child {
    let mut child = spawn.spawn().unwrap();
    let stdout = fs::File::from(child.stdout.take().unwrap());
    let mut lines = BufReader::new(stdout);
    lines.read_line(&mut String::new()).unwrap();
    child
}

/// A shell, its child, and a grandchild that has left session and parent.
const TREE: &str = "sleep 60 & setsid sh -c 'sleep 60 & echo'; wait";

/// Kills all, and waits for the shell.
fn end(group: &Group, mut child: Child) {
    group.kill(LIMIT).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Signal(Signal::KILL));
}

/// Where it is, in the hierarchies that the tests ask for.
fn folders(group: &Cgroup) -> Vec<&Path> {
    let legacy = CONTROLLERS
        .iter()
        .filter_map(|controller| group.legacy(*controller));
    group.unified().into_iter().chain(legacy).collect()
}

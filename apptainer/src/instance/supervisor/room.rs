//! What an instance has on this node while it is there: a folder of its own, and a lock by which
//! all of its processes are known.

use std::fs::{self, File};
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use apptainer_sys::process::{Member, Pid, PidFd, Process, Signal, Spawn, State, Tree};

use crate::folders::{make_private, remove_all};

/// The number that a descriptor of the lock has in all processes that Apptainer starts for the
/// instance: before those of an agent.
const ALIVE: RawFd = 199;

/// The folder.
#[derive(Debug, Clone)]
pub(super) struct Room {
    folder: PathBuf,
}

impl Room {
    /// Makes it.
    pub(super) fn make(folder: PathBuf) -> io::Result<Self> {
        make_private(&folder)?;
        Ok(Self { folder })
    }

    /// One that was made before.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the agent listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join("agent")
    }

    /// A layer that is gone with the instance.
    pub(super) fn overlay(&self) -> PathBuf {
        self.folder.join("overlay")
    }

    fn alive(&self) -> PathBuf {
        self.folder.join("alive")
    }

    /// Has `spawn`, and what that starts, hold the lock.
    pub(super) fn mark(&self, spawn: &mut Spawn) -> io::Result<()> {
        let file = File::create_new(self.alive())?;
        file.lock()?;
        spawn.inherit(file.into(), ALIVE);
        Ok(())
    }

    /// Whether a process of the instance is there.
    pub(super) fn is_alive(&self) -> io::Result<bool> {
        let file = match File::open(self.alive()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The processes that have the lock, held, and what is below them.
    fn members(&self) -> io::Result<Vec<Member>> {
        let alive = match fs::metadata(self.alive()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            found => found?,
        };
        let identity = (alive.dev(), alive.ino());
        let holds = |pid: Pid| {
            let found = fs::metadata(format!("/proc/{pid}/fd/{ALIVE}"));
            found.is_ok_and(|found| (found.dev(), found.ino()) == identity)
        };
        let mut members = Vec::new();
        for process in Process::all()? {
            if process.state == State::Zombie || !holds(process.pid) {
                continue;
            }
            let Ok(pidfd) = PidFd::open(process.pid) else {
                continue;
            };
            // Once it is held: the pid may have passed to another.
            if holds(process.pid) {
                members.extend(Tree::below(process.pid)?.into_members());
                members.push(Member { process, pidfd });
            }
        }
        Ok(members)
    }

    /// Kills every process of the instance, whatever it is doing; says whether all are gone.
    /// Blocks, for as long as that takes, at most for `limit`.
    pub(super) fn kill(&self, limit: Duration) -> io::Result<bool> {
        const PAUSE: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + limit;
        loop {
            let members = self.members()?;
            // First of all they stand still: a master whose starting `apptainer` has gone sends its
            // signal to whoever has become its parent, which may be this program.
            for signal in [Signal::STOP, Signal::KILL] {
                for member in &members {
                    // One that may not be signalled keeps nobody else alive.
                    if let Err(error) = member.pidfd.signal(signal) {
                        tracing::debug!(%error, pid = member.process.pid, "cannot signal a process of an instance");
                    }
                }
            }
            if members.is_empty() && !self.is_alive()? {
                return Ok(true);
            }
            for member in &members {
                let left = deadline.saturating_duration_since(Instant::now());
                member.pidfd.wait_ended(Some(left))?;
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until no process of the instance is there, at most for `limit`; says whether that is
    /// so. Blocks.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<bool> {
        const PAUSE: Duration = Duration::from_millis(1);
        let deadline = Instant::now() + limit;
        while self.is_alive()? {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            std::thread::sleep(PAUSE);
        }
        Ok(true)
    }

    /// Removes it with all that is in it.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_all(&self.folder)
    }

    /// A descriptor of its lock that keeps nobody waiting, for tests.
    #[cfg(test)]
    fn opened(&self) -> std::os::fd::OwnedFd {
        File::open(self.alive()).unwrap().into()
    }
}

#[cfg(test)]
mod tests {
    use apptainer_sys::process::Session;

    use super::*;

    #[test]
    fn what_is_started_with_it_is_found_and_killed() {
        let folder = tempfile::tempdir().unwrap();
        let room = Room::make(folder.path().join("room")).unwrap();
        assert!(!room.is_alive().unwrap());
        let mut spawn = Spawn::new("/bin/sh");
        // The second is in another session, and nobody's child any more.
        spawn
            .args([
                "-c",
                "setsid sh -c 'sleep 60 & exec sleep 60' & exec sleep 60",
            ])
            .session(Session::NewSession);
        room.mark(&mut spawn).unwrap();
        let mut child = spawn.spawn().unwrap();
        let asked = room.opened();
        assert!(room.is_alive().unwrap());
        assert!(!room.wait(Duration::from_millis(1)).unwrap());
        assert!(room.kill(Duration::from_secs(60)).unwrap());
        child.wait().unwrap();
        assert!(!room.is_alive().unwrap());
        drop(asked);
        room.remove().unwrap();
        assert!(room.kill(Duration::ZERO).unwrap());
    }
}

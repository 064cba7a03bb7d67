//! Ending a group.

use std::io;
use std::time::Duration;

use super::freeze::PAUSE;
use super::{Cgroup, CgroupError, Mechanism, file};
use crate::deadline::Deadline;
use crate::process::{PidFd, Signal};

const DOING: &str = "kill all in";

impl Cgroup {
    /// Kills every process in it and in the groups below it, and waits until they
    /// have ended, at most for `limit`.
    ///
    /// In the best way that there is: by the kernel, which misses nothing; by
    /// signals while they are frozen, which misses nothing either; by signals
    /// alone. That the group is gone is no error. Whoever started the processes must
    /// still wait for them.
    pub fn kill(&self, limit: Duration) -> Result<Mechanism, CgroupError> {
        let mechanism = if self.can_be_told() {
            Mechanism::CgroupKill
        } else {
            self.best_freezer().unwrap_or(Mechanism::Signals)
        };
        self.kill_by(mechanism, limit)
    }

    /// The same, in this way. What cannot be frozen in half of the time is killed by
    /// signals alone, and the answer says so.
    pub fn kill_by(&self, mechanism: Mechanism, limit: Duration) -> Result<Mechanism, CgroupError> {
        self.check_caller(DOING)?;
        let deadline = Deadline::after(limit);
        let used = match self.begin_to_kill(mechanism, limit / 2) {
            Err(error) if error.is_gone() => mechanism,
            used => used?,
        };
        loop {
            if used == Mechanism::Signals {
                self.signal(Signal::KILL)?;
            }
            if !self.is_populated()? {
                return Ok(used);
            }
            if deadline.has_passed() {
                return Err(self.timed_out(DOING, limit));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn can_be_told(&self) -> bool {
        self.unified()
            .is_some_and(|folder| folder.join("cgroup.kill").exists())
    }

    fn begin_to_kill(
        &self,
        mechanism: Mechanism,
        limit: Duration,
    ) -> Result<Mechanism, CgroupError> {
        match (mechanism, self.unified()) {
            (Mechanism::Signals, _) => {}
            (Mechanism::CgroupKill, Some(folder)) if self.can_be_told() => {
                file::write(folder, "cgroup.kill", "1")?;
            }
            (Mechanism::CgroupKill, _) => return Err(self.cannot(DOING)),
            (freezer, _) => match self.freeze_by(freezer, limit) {
                Err(CgroupError::TimedOut { .. }) => return Ok(Mechanism::Signals),
                frozen => {
                    frozen?;
                    let signalled = self.signal(Signal::KILL);
                    self.thaw_by(freezer)?;
                    signalled?;
                }
            },
        }
        Ok(mechanism)
    }

    /// Sends a signal to every process in it and in the groups below it, as it
    /// finds them: what they start meanwhile may be missed, unless they are
    /// [frozen](Self::freeze).
    ///
    /// One that may not be signalled keeps no other from being so; the first
    /// failure is returned afterwards.
    pub fn signal(&self, signal: Signal) -> Result<(), CgroupError> {
        self.check_caller("signal all in")?;
        let mut failure = None;
        let mut held = Vec::new();
        for pid in self.processes()? {
            match PidFd::open(pid) {
                Ok(process) => held.push((pid, process)),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // One that is still there was there when it was held: a pid that had gone to
        // another process by then would be in no list, or in this group as well.
        let still = self.processes()?;
        for (pid, process) in held {
            if still.binary_search(&pid).is_ok() {
                failure = failure.or(process.signal(signal).err());
            }
        }
        failure.map_or(Ok(()), |source: io::Error| {
            Err(CgroupError::Io {
                doing: "signal all in",
                path: self.path().to_owned(),
                source,
            })
        })
    }
}

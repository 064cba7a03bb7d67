//! Ending a group.

use std::time::{Duration, Instant};

use super::freeze::PAUSE;
use super::{Cgroup, CgroupError, Mechanism, file};
use crate::process::{PidFd, Signal};

impl Cgroup {
    /// Kills every process in it and in the groups below it, and waits until they
    /// have ended, at most for `limit`.
    ///
    /// In the best way that there is: by the kernel, which misses nothing; by
    /// signals while they are frozen, which misses nothing either; by signals
    /// alone. Whoever started them must still wait for them.
    pub fn kill(&self, limit: Duration) -> Result<Mechanism, CgroupError> {
        let can_be_told = self
            .unified()
            .is_some_and(|folder| folder.join("cgroup.kill").exists());
        let mechanism = if can_be_told {
            Mechanism::Kill
        } else {
            self.best_freezer().unwrap_or(Mechanism::Signals)
        };
        self.kill_by(mechanism, limit)
    }

    /// The same, in this way. What cannot be frozen in time is killed by signals
    /// alone.
    pub fn kill_by(&self, mechanism: Mechanism, limit: Duration) -> Result<Mechanism, CgroupError> {
        const DOING: &str = "kill all in";
        self.check_caller(DOING)?;
        let deadline = Instant::now() + limit;
        let mechanism = match mechanism {
            Mechanism::Kill => self.order_kill()?,
            Mechanism::Signals => mechanism,
            Mechanism::Freeze | Mechanism::Freezer => self.kill_frozen(mechanism, limit)?,
        };
        while self.is_populated()? {
            if Instant::now() >= deadline {
                return Err(CgroupError::TimedOut {
                    doing: DOING,
                    path: self.path().to_owned(),
                    limit,
                });
            }
            if mechanism == Mechanism::Signals {
                self.signal(Signal::KILL)?;
            }
            std::thread::sleep(PAUSE);
        }
        Ok(mechanism)
    }

    fn order_kill(&self) -> Result<Mechanism, CgroupError> {
        let folder = self.unified().unwrap_or(self.path());
        file::write(folder, "cgroup.kill", "1")?;
        Ok(Mechanism::Kill)
    }

    fn kill_frozen(&self, by: Mechanism, limit: Duration) -> Result<Mechanism, CgroupError> {
        match self.freeze_by(by, limit) {
            Ok(()) => {
                let signalled = self.signal(Signal::KILL);
                self.thaw_by(by)?;
                signalled?;
                Ok(by)
            }
            Err(CgroupError::TimedOut { .. }) => Ok(Mechanism::Signals),
            Err(error) => Err(error),
        }
    }

    /// Sends a signal to every process in it and in the groups below it, as it
    /// finds them: what they start meanwhile may be missed, unless they are
    /// [frozen](Self::freeze).
    pub fn signal(&self, signal: Signal) -> Result<(), CgroupError> {
        for pid in self.processes()? {
            let Ok(process) = PidFd::open(pid) else {
                continue;
            };
            // The pid may have been given to another process since it was read.
            if Self::of_process(pid).is_ok_and(|group| group.is_within(self)) {
                process.signal(signal).map_err(|source| CgroupError::Io {
                    doing: "signal all in",
                    path: self.path().to_owned(),
                    source,
                })?;
            }
        }
        Ok(())
    }
}

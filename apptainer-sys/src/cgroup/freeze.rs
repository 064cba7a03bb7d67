//! Halting a group.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Cgroup, CgroupError, Controller, Mechanism, file};

/// How often the kernel is asked whether it is done.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Halts every process in it and in the groups below it, and waits until they
    /// are, at most for `limit`.
    ///
    /// They can be killed while they are frozen; version 1 does that only once they
    /// are [thawed](Self::thaw). After a failure they go on.
    pub fn freeze(&self, limit: Duration) -> Result<Mechanism, CgroupError> {
        let mechanism = self.freezer()?;
        self.freeze_by(mechanism, limit)?;
        Ok(mechanism)
    }

    /// Lets every process in it go on. That they do already is no error.
    pub fn thaw(&self) -> Result<Mechanism, CgroupError> {
        let mechanism = self.freezer()?;
        self.thaw_by(mechanism)?;
        Ok(mechanism)
    }

    /// Whether every process in it is halted.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        self.is_frozen_by(self.freezer()?)
    }

    /// The freezer that it has, the newer one if it has both.
    pub(super) fn best_freezer(&self) -> Option<Mechanism> {
        // The root of the hierarchy has none, nor has Linux before 5.2.
        let has_file = |folder: &Path| folder.join("cgroup.freeze").exists();
        if self.unified().is_some_and(has_file) {
            return Some(Mechanism::Freeze);
        }
        self.legacy(Controller::Freezer).map(|_| Mechanism::Freezer)
    }

    fn freezer(&self) -> Result<Mechanism, CgroupError> {
        self.best_freezer()
            .ok_or_else(|| self.lacks(Controller::Freezer))
    }

    pub(super) fn freeze_by(&self, by: Mechanism, limit: Duration) -> Result<(), CgroupError> {
        self.check_caller("freeze")?;
        let deadline = Instant::now() + limit;
        self.set_frozen(by, true)?;
        while !self.is_frozen_by(by)? {
            if Instant::now() >= deadline {
                self.thaw_by(by)?;
                return Err(CgroupError::TimedOut {
                    doing: "freeze",
                    path: self.path().to_owned(),
                    limit,
                });
            }
            std::thread::sleep(PAUSE);
            // Version 1 gives up on a process that could not be halted at once.
            self.set_frozen(by, true)?;
        }
        Ok(())
    }

    pub(super) fn thaw_by(&self, by: Mechanism) -> Result<(), CgroupError> {
        self.set_frozen(by, false)
    }

    fn set_frozen(&self, by: Mechanism, frozen: bool) -> Result<(), CgroupError> {
        let folder = self.frozen_in(by)?;
        match (by, frozen) {
            (Mechanism::Freezer, true) => file::write(folder, "freezer.state", "FROZEN"),
            (Mechanism::Freezer, false) => file::write(folder, "freezer.state", "THAWED"),
            (_, true) => file::write(folder, "cgroup.freeze", "1"),
            (_, false) => file::write(folder, "cgroup.freeze", "0"),
        }
    }

    fn is_frozen_by(&self, by: Mechanism) -> Result<bool, CgroupError> {
        let folder = self.frozen_in(by)?;
        if by == Mechanism::Freezer {
            return Ok(file::read(folder, "freezer.state")?.trim() == "FROZEN");
        }
        let events = file::Keyed::read(folder, "cgroup.events")?;
        Ok(events.and_then(|events| events.get("frozen")) == Some(1))
    }

    fn frozen_in(&self, by: Mechanism) -> Result<&Path, CgroupError> {
        let folder = match by {
            Mechanism::Freezer => self.legacy(Controller::Freezer),
            _ => self.unified(),
        };
        folder.ok_or_else(|| self.lacks(Controller::Freezer))
    }
}

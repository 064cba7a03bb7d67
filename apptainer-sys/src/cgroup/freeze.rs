//! Halting a group.

use std::path::Path;
use std::time::Duration;

use super::{Cgroup, CgroupError, Controller, Mechanism, file};
use crate::deadline::Deadline;

/// How often the kernel is asked whether it is done.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

const DOING: &str = "freeze";

impl Cgroup {
    /// Halts every process in it and in the groups below it, and waits until they
    /// are, at most for `limit`.
    ///
    /// They can be killed while they are frozen; with version 1 that comes about
    /// only once they are [thawed](Self::thaw). After a failure they go on.
    pub fn freeze(&self, limit: Duration) -> Result<Mechanism, CgroupError> {
        let freezer = self.freezer()?;
        self.freeze_by(freezer, limit)?;
        Ok(freezer)
    }

    /// Lets every process in it go on. That they do already is no error.
    pub fn thaw(&self) -> Result<Mechanism, CgroupError> {
        let freezer = self.freezer()?;
        self.thaw_by(freezer)?;
        Ok(freezer)
    }

    /// Whether every process in it is halted.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        self.is_frozen_by(self.freezer()?)
    }

    fn freezer(&self) -> Result<Mechanism, CgroupError> {
        self.best_freezer().ok_or_else(|| self.cannot(DOING))
    }

    /// The freezer that it has, the newer one if it has both.
    pub(super) fn best_freezer(&self) -> Option<Mechanism> {
        [Mechanism::FreezerV2, Mechanism::FreezerV1]
            .into_iter()
            .find(|freezer| self.frozen_in(*freezer).is_ok())
    }

    pub(super) fn freeze_by(&self, by: Mechanism, limit: Duration) -> Result<(), CgroupError> {
        self.check_caller(DOING)?;
        let frozen = self.wait_frozen(by, limit);
        if frozen.is_err() {
            // The first error says more.
            let _ = self.thaw_by(by);
        }
        frozen
    }

    fn wait_frozen(&self, by: Mechanism, limit: Duration) -> Result<(), CgroupError> {
        let deadline = Deadline::after(limit);
        loop {
            // Again and again: version 1 gives up on what could not be halted at once.
            self.set_frozen(by, true)?;
            if self.is_frozen_by(by)? {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(self.timed_out(DOING, limit));
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub(super) fn thaw_by(&self, by: Mechanism) -> Result<(), CgroupError> {
        self.set_frozen(by, false)
    }

    fn set_frozen(&self, by: Mechanism, frozen: bool) -> Result<(), CgroupError> {
        let folder = self.frozen_in(by)?;
        match (by, frozen) {
            (Mechanism::FreezerV1, true) => file::write(folder, "freezer.state", "FROZEN"),
            (Mechanism::FreezerV1, false) => file::write(folder, "freezer.state", "THAWED"),
            (_, true) => file::write(folder, "cgroup.freeze", "1"),
            (_, false) => file::write(folder, "cgroup.freeze", "0"),
        }
    }

    fn is_frozen_by(&self, by: Mechanism) -> Result<bool, CgroupError> {
        let folder = self.frozen_in(by)?;
        if by == Mechanism::FreezerV1 {
            return Ok(file::read(folder, "freezer.state")?.trim() == "FROZEN");
        }
        let events = file::Keyed::read(folder, "cgroup.events")?;
        Ok(events.and_then(|events| events.get("frozen")) == Some(1))
    }

    fn frozen_in(&self, by: Mechanism) -> Result<&Path, CgroupError> {
        let folder = match by {
            Mechanism::FreezerV1 => self.legacy(Controller::Freezer),
            // The root of the hierarchy has no such file, nor has Linux before 5.2.
            _ => self
                .unified()
                .filter(|folder| folder.join("cgroup.freeze").exists()),
        };
        folder.ok_or_else(|| self.cannot(DOING))
    }

    pub(super) fn timed_out(&self, doing: &'static str, limit: Duration) -> CgroupError {
        CgroupError::TimedOut {
            doing,
            path: self.path().to_owned(),
            limit,
        }
    }

    pub(super) fn cannot(&self, doing: &'static str) -> CgroupError {
        CgroupError::NoMechanism {
            doing,
            path: self.path().to_owned(),
        }
    }
}

//! Why an instance was not started.

use std::ffi::OsString;

use apptainer_sys::exit::{Failure, FailureKind};
use apptainer_sys::process::Exit;

use super::Starting;
use crate::error::ApptainerFailure;
use crate::instance::InstanceError;
use crate::instance::start::log_since;

impl Starting<'_> {
    /// The end of what the instance itself has said.
    pub(super) fn log(&self) -> String {
        log_since(&self.records, &self.plan.name, self.entry.log_length)
    }

    pub(super) fn ended_at_once(&self) -> InstanceError {
        InstanceError::EndedAtOnce {
            name: self.plan.name.clone(),
            log: self.log(),
        }
    }

    pub(super) fn timed_out(&self) -> InstanceError {
        InstanceError::TimedOut {
            name: self.plan.name.clone(),
            limit: self.plan.spec.time_to_start(),
            log: self.log(),
        }
    }

    pub(super) fn failure(
        &mut self,
        program: std::path::PathBuf,
        argv: Vec<OsString>,
        exit: Exit,
        stderr: &[u8],
    ) -> InstanceError {
        let failure = Failure::from_stderr(stderr);
        if failure.kind == FailureKind::InstanceExists {
            self.remnant.name_is_anothers(true);
            return InstanceError::name_taken(&self.plan.name);
        }
        InstanceError::Apptainer {
            name: self.plan.name.clone(),
            failure: Box::new(ApptainerFailure {
                program,
                argv,
                exit,
                failure,
                stderr: String::from_utf8_lossy(stderr).into_owned(),
                stdout: String::new(),
            }),
            log: self.log(),
        }
    }
}

/// Whether a failure is one that passes: Apptainer waits for 10 seconds for a FUSE program.
pub(super) fn will_pass(failure: &ApptainerFailure) -> bool {
    let mut lines = failure.stderr.lines();
    lines.any(|line| {
        let after = line.split_once(" failed to mount ");
        let time = after.and_then(|(_, after)| after.rsplit_once(" in "));
        time.is_some_and(|(_, time)| time.starts_with(|first: char| first.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(stderr: &str) -> ApptainerFailure {
        ApptainerFailure {
            program: "apptainer".into(),
            argv: Vec::new(),
            exit: Exit::Code(255),
            failure: Failure::from_stderr(stderr.as_bytes()),
            stderr: stderr.into(),
            stdout: String::new(),
        }
    }

    #[test]
    fn only_a_mount_that_took_too_long_is_tried_again() {
        let slow = "FATAL:   container creation failed: squashfuse_ll failed to mount /a in b.sif in 10s\n";
        assert!(will_pass(&failure(slow)));
        let never =
            "FATAL:   container creation failed: squashfuse_ll failed to mount /a: exit status 1\n";
        assert!(!will_pass(&failure(never)));
        assert!(!will_pass(&failure("FATAL:   no such image")));
    }
}

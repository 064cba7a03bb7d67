//! What is around an instance, written down for whoever comes after the caller.

use apptainer_sys::process::{Pid, Process};
use serde::{Deserialize, Serialize};

use super::groups::Groups;
use super::{Limits, Mechanisms};

/// What is around an instance, as data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::instance) struct EnclosureRecord {
    pub(super) limits: Limits,
    pub(super) mechanisms: Mechanisms,
    pub(super) groups: Option<Groups>,
    pub(super) before: Before,
}

/// What ran before the payload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// In the container.
    pub(super) processes: Vec<Known>,
    /// How many threads those have.
    pub(super) threads: u64,
    /// How many threads the kernel counts with the payload's, where it does so for the
    /// instance's user namespace alone.
    pub(super) counted: Option<u64>,
}

/// A process, by what names it for as long as the machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) pid: Pid,
    pub(super) started: u64,
}

impl Known {
    pub(super) fn of(process: &Process) -> Self {
        Self {
            pid: process.pid,
            started: process.started,
        }
    }
}

//! What goes wrong with limits.

use std::io;

use apptainer_sys::cgroup::CgroupError;

/// An instance could not be limited, paused or counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Nothing keeps this limit for the caller on this machine.
    #[error(
        "limit {field} of an instance: only a cgroup with the controller for it does that, and the \
         caller may make none here; leave that limit out, or run as root or in a cgroup that is \
         yours, as `systemd-run --user --scope -p Delegate=yes` makes one"
    )]
    Unsupported {
        /// The limit's field in [`Limits`](super::Limits).
        field: &'static str,
    },
    /// A limit makes no sense.
    #[error("limit {field} of an instance: {problem}")]
    Invalid {
        /// The limit's field in [`Limits`](super::Limits).
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// None of the CPUs asked for may be used.
    #[error("limit an instance to the CPUs {wanted}: this process may use {allowed} alone")]
    NoCpus {
        /// What was asked for.
        wanted: String,
        /// What there is.
        allowed: String,
    },
    /// The cgroup could not be used.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The processes could not be looked at, or told something.
    #[error("{doing} the processes of an instance: {source}")]
    Processes {
        /// What was being done: `count`, `pause`.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl LimitError {
    pub(in crate::instance) fn processes(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::Processes { doing, source }
    }

    /// Whether it says that this machine, or this user's rights on it, do not allow for it.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }
}

//! Starting a process without copying the caller.
//!
//! Both ways share the caller's memory with the child until it execs, so their
//! cost does not grow with the caller's size as that of `fork` does: `clone3`,
//! which also gives the child its pidfd and its cgroup from the start, and
//! `posix_spawn` where that is not to be had.

mod builder;
mod clone;
mod error;
mod launch;
mod placement;
mod posix;
mod stdio;

pub use builder::{Inheritance, Session, Spawn};
pub use error::{SpawnError, SpawnStage};
pub use launch::Mechanism;
pub use placement::Placement;
pub use stdio::Stdio;

//! Control groups: all processes of a group limited, frozen, counted and ended
//! as one.
//!
//! The kernel has two versions of the interface, and machines have either or both:
//! with both, version 1 often has the controllers and version 2 the groups alone.
//! A [`Cgroup`] here is a place in all of the hierarchies at once. What it can do
//! is what the machine has and the caller was given; what it did, and by which
//! [`Mechanism`] or [`Version`], it tells.
//!
//! ```no_run
//! use std::time::Duration;
//! use apptainer_sys::cgroup::{Cgroup, Controller, Limits};
//! use apptainer_sys::process::Spawn;
//!
//! let job = Cgroup::current()?.create("job-7", &[Controller::Memory, Controller::Pids])?;
//! job.limit(&Limits::new().memory(512 << 20).pids(100))?;
//! let mut spawn = Spawn::new("/usr/bin/make");
//! spawn.cgroup(job.placement()?);
//! spawn.spawn()?.wait()?;
//! job.kill(Duration::from_secs(5))?;
//! job.remove()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In version 2, a group whose children have controllers has no processes of its
//! own: see [`Cgroup::move_processes`].
//!
//! Sources: the kernel's "Control Group v2" and "Control Groups version 1"
//! documents, cgroups(7).

mod controller;
mod create;
mod error;
mod events;
mod file;
mod freeze;
mod group;
mod hierarchy;
mod kill;
mod limits;
mod quantity;
mod stats;

pub use controller::{Controller, Version};
pub use create::Delegation;
pub use error::CgroupError;
pub use events::{Event, Events};
pub use group::{Cgroup, Mechanism};
pub use limits::{BlockDevice, IoLimit, Limits};
pub use quantity::{CpuList, Cpus, Limit, ParseCpuListError};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};

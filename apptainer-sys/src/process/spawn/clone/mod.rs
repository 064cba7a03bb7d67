//! `clone3`.
//!
//! The child shares the caller's memory, and the calling thread stands still, until
//! it execs or exits: `CLONE_VM | CLONE_VFORK`, as `posix_spawn` has it. So what the
//! child does, in `child.rs`, touches nothing but what was prepared for it. A child
//! that puts itself into a cpuset has memory of its own, for the kernel moves it.

mod call;
mod child;
mod page;
mod start;

pub(super) use start::{own_cpus, start};

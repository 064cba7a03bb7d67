//! Processes: starting them cheaply, waiting for them, signalling them, and
//! finding all that they started.
//!
//! This module and `cgroup` are the only ones of the crate with unsafe code.

mod child;
mod exit;
mod pidfd;
mod pipe;
mod signal;
mod spawn;
mod table;
mod tree;

pub use child::{Captured, Child};
pub use exit::Exit;
pub use pidfd::PidFd;
pub use pipe::pipe_capacity;
pub use signal::Signal;
pub use spawn::{Session, Spawn, SpawnError, SpawnStage, Stdio};
pub use table::{Pid, Process, State};
pub use tree::{Member, Tree};

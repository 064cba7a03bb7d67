//! Processes: starting them cheaply, waiting for them, signalling them, and
//! finding all that they started.
//!
//! The only module of the crate with unsafe code.

mod child;
mod exit;
mod lasting;
mod memfd;
mod pidfd;
mod pipe;
mod pty;
mod seqpacket;
mod signal;
mod spawn;
mod subreaper;
mod table;
mod tree;
mod usage;

pub use child::{Captured, Child};
pub use exit::Exit;
pub use memfd::{Content, sealed_file};
pub use pidfd::PidFd;
pub use pipe::{pipe, pipe_capacity};
pub use pty::{Pty, WindowSize};
pub use seqpacket::{Packet, Seqpacket, listen_at};
pub use signal::Signal;
pub use spawn::{Inheritance, Mechanism, Placement, Session, Spawn, SpawnError, SpawnStage, Stdio};
pub use subreaper::{is_subreaper, set_subreaper};
pub use table::{Pid, Process, State};
pub use tree::{Member, Tree};
pub use usage::ResourceUsage;

//! Commands in containers, shaped like `tokio::process`.

mod buffer;
mod child;
mod cli;
mod collect;
mod command;
mod ends;
mod error;
mod lines;
mod link;
mod output;
mod pipe;
mod place;
mod rlimit;
mod start;
mod status;
mod stdio;
mod stream;
mod terminal;
mod watchdog;

pub use apptainer_sys::process::WindowSize;
pub use child::Child;
pub use command::Command;
pub use error::ExecError;
pub use lines::{Line, Lines};
pub use link::{
    Carrier, CommandInfo, Link, LinkBuilder, LinkError, OnDisconnect, StartError, StartStage,
};
pub use output::{Omission, Output};
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub use rlimit::{Resource, UNLIMITED};
pub use status::{ExitStatus, Mechanism};
pub use stdio::Stdio;
pub use stream::{Chunk, OutputStream, Source};
pub use terminal::{ChildTerminal, TerminalReader, TerminalWriter};

pub(crate) use command::Defaults;
pub(crate) use lines::take_line;
pub(crate) use link::{Resident, Slot, files_protocol, resident_program};
pub(crate) use place::{Place, Way};

//! Commands in containers, shaped like `tokio::process`.

mod child;
mod command;
mod error;
mod output;
mod pipe;
mod status;
mod stdio;
mod stream;

pub use child::Child;
pub use command::Command;
pub use error::ExecError;
pub use output::Output;
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
pub use status::{ExitStatus, Mechanism};
pub use stdio::Stdio;
pub use stream::{Chunk, OutputStream, Source};

pub(crate) use command::Place;

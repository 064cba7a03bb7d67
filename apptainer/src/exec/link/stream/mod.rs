//! Links over a stream of bytes: frames, in which many commands share it.
//!
//! ```text
//!   ChildStdin    ChildStdout   Line          (one command)
//!        \             |         /
//!         \            v        v
//!          +-------> Channel <-----+          what one command has said and written
//!          |                       |
//!          v                       |
//!       Outbox                  Channels      which there are
//!          |                       ^
//!          v                       |
//!     write task               read task      one each, as long as the link lasts
//!          |                       ^
//!          v                       |
//!       writer                  reader        the caller's
//! ```

mod carried;
mod channel;
mod channels;
mod frames;
mod inflow;
mod mux;
mod open;
mod outbox;
#[cfg(test)]
mod tests;

pub(crate) use carried::{ChannelInput, ChannelOutput};
pub(crate) use channel::Channel;
pub(crate) use mux::Mux;

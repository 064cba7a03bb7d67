//! Links: agents in containers, which start commands there without an
//! `apptainer exec` each.

mod builder;
#[path = "../../../agent/codec.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "each side uses its half"))]
mod codec;
#[cfg(test)]
mod codec_tests;
mod connection;
mod control;
mod error;
#[path = "../../../agent/files_protocol.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "each side uses its half"))]
pub(crate) mod files_protocol;
#[cfg(test)]
mod files_protocol_tests;
#[path = "../../../agent/frame.rs"]
mod frame;
mod handle;
mod launch;
mod line;
mod marked;
mod program;
#[path = "../../../agent/protocol.rs"]
mod protocol;
mod remote;
mod request;
mod resident;
mod slot;
mod socket;
mod stream;
mod transport;
mod watcher;

pub use builder::{LinkBuilder, OnDisconnect};
pub use error::{LinkError, StartError, StartStage};
pub use handle::{CommandInfo, Link};
pub use program::Carrier;

pub(crate) use connection::Connection;
pub(crate) use line::Line;
pub(crate) use resident::{Resident, resident_program};
pub(crate) use slot::Slot;
pub(crate) use stream::{Channel, ChannelInput, ChannelOutput, Mux};
pub(crate) use transport::Transport;

pub(super) use remote::Remote;
pub(super) use slot::Reached;

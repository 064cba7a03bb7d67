//! Why a port could not be reserved.

use std::io;

/// A port could not be kept free.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// The number that it has to be is somebody else's.
    #[error(
        "reserve the port {name}: {number} is taken; stop what uses it, name another, or none to have one chosen"
    )]
    Taken {
        /// What the port is called.
        name: String,
        /// The number.
        number: u16,
    },
    /// There is no port left to choose.
    #[error(
        "reserve the port {name}: none is free on this host; net.ipv4.ip_local_port_range says which can be chosen"
    )]
    NoneFree {
        /// What the port is called.
        name: String,
    },
    /// The system refused something.
    #[error("reserve the port {name}: {doing}: {source}")]
    Io {
        /// What the port is called.
        name: String,
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl PortError {
    /// Whether the number that it has to be is somebody else's.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. })
    }
}

//! Why a gateway could not be started or ended.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a gateway could not be started or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// Others could reach the address; nothing was started.
    #[error(
        "listen on {address}: that is no loopback address, so whoever reaches this machine could try \
         keys; say `expose` if that is meant"
    )]
    Exposed {
        /// The address given.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("listen on {address}: {source}")]
    Bind {
        /// The address given.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The socket cannot be made; something may be at its path.
    #[error("listen on the socket {}: {source}", path.display())]
    Socket {
        /// The path given.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No header can carry the key; nothing was started.
    #[error("use an API key: it is empty, or has other characters than visible ones of ASCII")]
    Key,
    /// It failed.
    #[error("serve: {0}")]
    Serve(io::Error),
}

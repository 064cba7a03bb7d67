//! Whether what runs in an instance is well.

mod ask;
mod failure;
mod file;
mod http;
mod listening;
mod probe;
mod proc_net;
mod schedule;
mod settings;
mod sock_diag;
mod watch;

pub use failure::ProbeFailure;
pub use probe::{CustomProbe, PortRef, Probe, Probed};
pub use settings::Health;

pub(super) use ask::Target;
pub(super) use proc_net::has_connections;
pub(super) use watch::{Report, Verdict, Watch, watch};

//! Containers that run in the background.

mod error;
mod health;
mod limits;
mod list;
mod lock;
mod logs;
mod pause;
mod pool;
mod ports;
mod probe;
mod processes;
mod remains;
mod running;
mod seconds;
mod spec;
mod start;
mod state;
mod stats;
mod supervisor;
mod usage;

pub use error::InstanceError;
pub use health::{CustomProbe, Health, PortRef, Probe, ProbeFailure, Probed};
pub use limits::{LimitError, Limits, Mechanism, Mechanisms};
pub use list::InstanceInfo;
pub use logs::{LogError, LogLine, LogLines, LogSettings, ReadLogs};
pub use pool::{Checkout, Pool, PoolBuilder, PoolError, PoolSize, PoolStats, Reset};
pub use ports::{Port, PortError};
pub use running::Instance;
pub use spec::{Finding, Joined, Namespace, Payload, Privileges, Spec, SpecError};
pub use state::{Event, EventKind, Events, Lost, State, Stopped};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};
pub(crate) use supervisor::FillLayer;
pub use supervisor::{Recovery, Service, Supervisor, SupervisorBuilder};

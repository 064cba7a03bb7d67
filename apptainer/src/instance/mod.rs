//! Containers that run in the background.

mod error;
#[expect(dead_code, reason = "what supervises instances comes to use it")]
mod health;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what supervises instances comes to use it")
)]
mod limits;
mod list;
mod lock;
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        unused_imports,
        reason = "what supervises instances comes to use it"
    )
)]
mod logs;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what supervises instances comes to use it")
)]
mod pause;
mod ports;
mod probe;
mod processes;
mod remains;
mod running;
mod spec;
mod start;
mod state;
mod supervisor;

pub use error::InstanceError;
pub use health::{CustomProbe, Health, PortRef, Probe, ProbeFailure, Probed};
pub use limits::Limits;
mod stats;
mod usage;

pub use error::InstanceError;
pub use health::Health;
pub use limits::{LimitError, Limits, Mechanism, Mechanisms};
pub use list::InstanceInfo;
pub use logs::LogSettings;
pub use ports::{Port, PortError};
pub use logs::{LogError, LogLine, LogLines, LogSettings, ReadLogs};
pub use ports::Port;
pub use running::Instance;
pub use spec::Spec;
pub use state::{Event, EventKind, Events, Lost, State, Stopped};
pub use supervisor::{Recovery, Service, Supervisor, SupervisorBuilder};
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};

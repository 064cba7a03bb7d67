//! Containers that run in the background.

mod error;
mod health;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "what supervises instances comes to use it")
)]
mod limits;
mod list;
mod lock;
mod logs;
mod pause;
mod ports;
mod processes;
mod remains;
mod running;
mod spec;
mod start;
mod stats;
mod usage;

pub use error::InstanceError;
pub use health::Health;
pub use limits::{LimitError, Limits, Mechanism, Mechanisms};
pub use list::InstanceInfo;
pub use logs::LogSettings;
pub use ports::Port;
pub use running::Instance;
pub use spec::Spec;
pub use stats::{CpuStats, IoStats, MemoryStats, PidsStats, Stats};

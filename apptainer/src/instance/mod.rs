//! Containers that run in the background.

mod error;
mod health;
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
mod ports;
mod processes;
mod remains;
mod running;
mod spec;
mod start;

pub use error::InstanceError;
pub use health::Health;
pub use limits::Limits;
pub use list::InstanceInfo;
pub use logs::{LogError, LogLine, LogLines, LogSettings, ReadLogs};
pub use ports::Port;
pub use running::Instance;
pub use spec::Spec;

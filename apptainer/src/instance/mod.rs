//! Containers that run in the background.

mod error;
mod health;
mod limits;
mod list;
mod lock;
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
pub use logs::LogSettings;
pub use ports::Port;
pub use running::Instance;
pub use spec::{Finding, Joined, Namespace, Payload, Privileges, Spec, SpecError};

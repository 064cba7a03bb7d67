//! Containers that run in the background.

mod error;
mod list;
mod lock;
mod processes;
mod remains;
mod running;
mod start;

pub use error::InstanceError;
pub use list::InstanceInfo;
pub use running::Instance;

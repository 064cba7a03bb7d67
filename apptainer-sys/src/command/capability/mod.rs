//! `apptainer capability`: what the administrator lets users have.

mod add;
mod avail;
mod drop;
mod list;

pub use add::Add;
pub use avail::Avail;
pub use drop::Drop;
pub use list::List;

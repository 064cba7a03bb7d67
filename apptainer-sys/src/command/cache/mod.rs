//! `apptainer cache`: what Apptainer itself keeps of images it fetched.

mod clean;
mod kind;
mod list;

pub use clean::Clean;
pub use kind::Kind;
pub use list::List;

//! `apptainer checkpoint`: instances written to disk with DMTCP.

mod create;
mod delete;
mod instance;
mod list;

pub use create::Create;
pub use delete::Delete;
pub use instance::Instance;
pub use list::List;

//! `apptainer instance`: containers that run in the background.

mod list;
mod run;
mod start;
mod stop;

pub use list::List;
pub use run::Run;
pub use start::{Start, StartOptions};
pub use stop::Stop;

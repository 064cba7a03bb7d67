//! `apptainer instance`: containers that run in the background.

mod list;
mod run;
mod start;
mod stats;
mod stop;

pub use list::List;
pub use run::Run;
pub use start::{Start, StartOptions};
pub use stats::Stats;
pub use stop::Stop;

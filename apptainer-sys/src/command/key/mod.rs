//! `apptainer key`: keys for signatures.

mod export;
mod import;
mod list;
mod newpair;
mod pull;
mod push;
mod remove;
mod search;

pub use export::Export;
pub use import::Import;
pub use list::List;
pub use newpair::{NewPair, Upload};
pub use pull::Pull;
pub use push::Push;
pub use remove::Remove;
pub use search::Search;

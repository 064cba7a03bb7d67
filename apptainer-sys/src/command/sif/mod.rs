//! `apptainer sif`: SIF files, object by object.

mod add;
mod del;
mod dump;
mod header;
mod info;
mod kinds;
mod list;
mod new_file;
mod setprim;

pub use add::Add;
pub use del::Del;
pub use dump::Dump;
pub use header::Header;
pub use info::Info;
pub use list::List;
pub use new_file::NewFile;
pub use setprim::SetPrim;

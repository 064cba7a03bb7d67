//! What Apptainer's commands print.

mod build_config;
mod inspect;
mod instance_list;
mod message;
mod sif_list;

pub use build_config::BuildConfig;
pub use inspect::{Attributes, Metadata};
pub use instance_list::{InstanceList, ListedInstance};
pub use message::{Level, Message, messages};
pub use sif_list::ListedObject;

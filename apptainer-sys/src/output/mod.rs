//! What Apptainer's commands print.
//!
//! JSON is read by types that keep what they do not know, as [`Unknown`]. Where
//! there is no JSON, text is read that was laid out for people; a line that is not
//! understood is passed over.

mod build_config;
mod cache_list;
mod capability_list;
mod fields;
mod instance_list;
mod instance_stats;
mod key_list;
mod message;
mod oci_state;
mod plugin_list;
mod remote_list;
mod sif_list;
mod table;
mod verification;

pub use build_config::BuildConfig;
pub use cache_list::CacheEntry;
pub use capability_list::{Grant, OwnerKind};
pub use fields::fields;
pub use instance_list::{InstanceList, ListedInstance};
pub use instance_stats::{
    CpuStats, CpuUsage, InstanceStats, MemoryStats, MemoryUsage, PidsStats, ThrottlingData,
};
pub use key_list::ListedKey;
pub use message::{Level, Message, messages};
pub use oci_state::OciState;
pub use plugin_list::ListedPlugin;
pub use remote_list::{ListedRegistry, ListedRemote};
pub use sif_list::ListedObject;
pub use verification::{Signer, SignerKey, Verification};

/// What `apptainer inspect --json` prints; it stands in SIF files, too.
pub use crate::sif::{App, Attributes, Data, Metadata, Unknown};

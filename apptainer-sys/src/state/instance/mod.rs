//! The records that Apptainer keeps of running instances.
//!
//! `CONFIGDIR/instances/app/HOST/USER/NAME/NAME.json`, and beside it in
//! `instances/logs` what the instance prints. Reading them here, unlike
//! `apptainer instance list`, removes none.

mod config;
mod name;
mod record;
mod records;

pub use config::{BoundPath, Config, IdMapping, Namespace, Writable};
pub use name::is_valid_name;
pub use record::{Held, Record};
pub use records::{RecordError, Records};

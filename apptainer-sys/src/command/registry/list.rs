//! `apptainer registry list`.

use super::RegistryOptions;
use crate::command::options::options;

options! {
    /// Shows the registries that one is logged in to: `apptainer registry list`.
    pub command List = ["registry", "list"] since Registries under registry: RegistryOptions {
        groups {}
        positional {}
        flags {}
    }
}

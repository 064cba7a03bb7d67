//! Ports that are kept free for an instance until it has them.

use serde::{Deserialize, Serialize};

/// A port of this host that is chosen for an instance when it is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Port {
    /// What it is called in the instance's arguments and variables: `{port:NAME}`.
    pub name: String,
}

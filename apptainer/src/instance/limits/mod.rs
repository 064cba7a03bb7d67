//! What an instance may use of the machine.

use serde::{Deserialize, Serialize};

/// What an instance may use of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {}

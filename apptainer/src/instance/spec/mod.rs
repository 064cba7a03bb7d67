//! What an instance is to be, as data.

use serde::{Deserialize, Serialize};

/// What an instance is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Spec {}

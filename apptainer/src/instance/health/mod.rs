//! Whether what runs in an instance is well.

use serde::{Deserialize, Serialize};

/// How to tell whether an instance is well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {}

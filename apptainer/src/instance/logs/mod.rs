//! What an instance writes to its standard output and standard error.

use serde::{Deserialize, Serialize};

/// What becomes of what an instance writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogSettings {}

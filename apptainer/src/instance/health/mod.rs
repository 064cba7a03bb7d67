//! Whether what runs in an instance is well.

mod proc_net;

use serde::{Deserialize, Serialize};

pub(super) use proc_net::has_connections;

/// How to tell whether an instance is well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {}

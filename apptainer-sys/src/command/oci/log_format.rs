//! How the output of a container is written down.

use std::ffi::OsString;

use crate::command::value::Value;

/// How the output of a container is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogFormat {
    /// As it is.
    Basic,
    /// A line with its time and source.
    Kubernetes,
    /// A JSON object a line.
    Json,
}

impl Value for LogFormat {
    fn to_word(&self) -> OsString {
        match self {
            Self::Basic => "basic",
            Self::Kubernetes => "kubernetes",
            Self::Json => "json",
        }
        .into()
    }
}

//! What the cache is divided into.

use std::ffi::OsString;

use crate::command::value::Value;

/// A part of Apptainer's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// All of it.
    All,
    /// Layers of OCI images.
    Blob,
    /// SIF files from `library://`.
    Library,
    /// SIF files from `http://` and `https://`.
    Net,
    /// SIF files made of OCI images.
    OciTmp,
    /// SIF files from `oras://`.
    Oras,
    /// SIF files from `shub://`.
    Shub,
}

impl Value for Kind {
    fn to_word(&self) -> OsString {
        match self {
            Self::All => "all",
            Self::Blob => "blob",
            Self::Library => "library",
            Self::Net => "net",
            Self::OciTmp => "oci-tmp",
            Self::Oras => "oras",
            Self::Shub => "shub",
        }
        .into()
    }
}

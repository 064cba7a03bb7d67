//! How layers become a SIF file.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the file system in a SIF file is compressed with.
///
/// What reads it has to know it: FUSE's `squashfuse`, or the kernel. Both have known gzip
/// always, and mostly all of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Compression {
    /// Small, slow to make, and known everywhere: what Apptainer takes by itself.
    Gzip,
    /// As small, and several times faster to make and to read.
    Zstd {
        /// From 1, the fastest, to 22, the smallest.
        level: u8,
    },
    /// The fastest to read, and larger.
    Lz4,
}

/// What decides how the same layers become different SIF files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
pub(super) struct Conversion {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) compression: Option<Compression>,
}

impl Compression {
    /// The words for `mksquashfs`.
    pub(super) fn to_words(self) -> String {
        match self {
            Self::Gzip => "-comp gzip".into(),
            Self::Zstd { level } => format!("-comp zstd -Xcompression-level {level}"),
            Self::Lz4 => "-comp lz4".into(),
        }
    }
}

impl fmt::Display for Conversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            None => write!(f, "apptainer"),
            Some(compression) => write!(f, "{}", compression.to_words()),
        }
    }
}

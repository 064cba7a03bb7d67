//! How layers become a SIF file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the file system in a SIF file is compressed with.
///
/// What reads it has to know it: FUSE's `squashfuse`, or the kernel. Both have known gzip
/// always, and mostly all of these.
///
/// ```
/// use apptainer::image::Compression;
///
/// let zstd: Compression = "zstd:9".parse()?;
/// assert_eq!(zstd, Compression::Zstd { level: 9 });
/// # Ok::<(), apptainer::image::CompressionError>(())
/// ```
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

/// Text that names no compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the compression {text:?}: write gzip, lz4, zstd, or zstd:LEVEL from 1 to 22")]
pub struct CompressionError {
    /// The text.
    pub text: String,
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

impl FromStr for Compression {
    type Err = CompressionError;

    /// Reads `gzip`, `lz4`, `zstd:LEVEL`, or `zstd`, whose level is 3.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || CompressionError {
            text: text.to_owned(),
        };
        let level = match text {
            "gzip" => return Ok(Self::Gzip),
            "lz4" => return Ok(Self::Lz4),
            // Source: what zstd takes by itself.
            "zstd" => "3",
            _ => text.strip_prefix("zstd:").ok_or_else(error)?,
        };
        let level = level.parse().ok();
        let level = level.filter(|level| (1..=22).contains(level));
        level.map(|level| Self::Zstd { level }).ok_or_else(error)
    }
}

/// As it is read.
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip => write!(f, "gzip"),
            Self::Lz4 => write!(f, "lz4"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["gzip", "lz4", "zstd:1", "zstd:22"] {
            assert_eq!(text.parse::<Compression>().unwrap().to_string(), text);
        }
        assert_eq!("zstd".parse(), Ok(Compression::Zstd { level: 3 }));
        for text in ["", "xz", "zstd:", "zstd:0", "zstd:23", "gzip:1"] {
            assert!(text.parse::<Compression>().is_err(), "{text}");
        }
    }
}

//! The first 128 bytes.

use super::SifError;
use super::fields::{int64, length};
use super::kind::Arch;

/// What a SIF file says of itself at its start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The architecture of the image.
    pub arch: Arch,
    /// Its identity.
    pub uuid: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it was last changed, in seconds since 1970.
    pub modified: i64,
    /// How many descriptors are not in use.
    pub descriptors_free: u64,
    /// How many descriptors there is room for.
    pub descriptors_total: u64,
    /// Where the descriptors begin, in bytes.
    pub descriptors_offset: u64,
    /// Where the data begins, in bytes.
    pub data_offset: u64,
    /// How long the data is, in bytes.
    pub data_size: u64,
}

impl Header {
    /// Its length in the file, in bytes.
    pub const SIZE: usize = 128;

    pub(super) fn parse(bytes: &[u8; Self::SIZE]) -> Result<Self, SifError> {
        if &bytes[32..42] != b"SIF_MAGIC\0" {
            return Err(SifError::NotSif);
        }
        if &bytes[42..45] != b"01\0" {
            let version = String::from_utf8_lossy(&bytes[42..44]).into_owned();
            return Err(SifError::UnknownVersion { version });
        }
        let mut arch = [0; 3];
        arch.copy_from_slice(&bytes[45..48]);
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&bytes[48..64]);
        Ok(Self {
            arch: Arch::from_digits(arch),
            uuid,
            created: int64(bytes, 64),
            modified: int64(bytes, 72),
            descriptors_free: length(bytes, 80, "the number of free descriptors")?,
            descriptors_total: length(bytes, 88, "the number of descriptors")?,
            descriptors_offset: length(bytes, 96, "the place of the descriptors")?,
            data_offset: length(bytes, 112, "the place of the data")?,
            data_size: length(bytes, 120, "the size of the data")?,
        })
    }
}

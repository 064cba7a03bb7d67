//! The first 128 bytes.

use super::SifError;

/// A processor architecture, as SIF numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Arch {
    /// Not said.
    Unknown,
    /// 32-bit x86.
    I386,
    /// 64-bit x86.
    Amd64,
    /// 32-bit Arm.
    Arm,
    /// 64-bit Arm.
    Arm64,
    /// 64-bit POWER, big-endian.
    Ppc64,
    /// 64-bit POWER, little-endian.
    Ppc64Le,
    /// 64-bit Z.
    S390x,
    /// 64-bit RISC-V.
    Riscv64,
    /// Any other number.
    Other([u8; 2]),
}

impl Arch {
    pub(super) fn from_field(field: [u8; 3]) -> Self {
        match &field[..2] {
            b"00" => Self::Unknown,
            b"01" => Self::I386,
            b"02" => Self::Amd64,
            b"03" => Self::Arm,
            b"04" => Self::Arm64,
            b"05" => Self::Ppc64,
            b"06" => Self::Ppc64Le,
            b"11" => Self::S390x,
            b"12" => Self::Riscv64,
            _ => Self::Other([field[0], field[1]]),
        }
    }
}

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
            arch: Arch::from_field(arch),
            uuid,
            created: int64(bytes, 64),
            modified: int64(bytes, 72),
            descriptors_total: length(bytes, 88, "the number of descriptors")?,
            descriptors_offset: length(bytes, 96, "the place of the descriptors")?,
            data_offset: length(bytes, 112, "the place of the data")?,
            data_size: length(bytes, 120, "the size of the data")?,
        })
    }
}

pub(super) fn int64(bytes: &[u8], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(field)
}

pub(super) fn int32(bytes: &[u8], at: usize) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    i32::from_le_bytes(field)
}

/// A length or place, which the format keeps as a signed number.
pub(super) fn length(bytes: &[u8], at: usize, what: &str) -> Result<u64, SifError> {
    u64::try_from(int64(bytes, at)).map_err(|_| SifError::Damaged { what: what.into() })
}

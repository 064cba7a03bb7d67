//! The entries of a SIF file's table.

use super::SifError;
use super::header::{int32, int64, length};

/// What a data object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataType {
    /// A definition file.
    DefinitionFile,
    /// Environment variables.
    EnvVar,
    /// Labels.
    Labels,
    /// A file system.
    Partition,
    /// A signature.
    Signature,
    /// A JSON document.
    GenericJson,
    /// Anything.
    Generic,
    /// An encrypted key.
    CryptoMessage,
    /// A software bill of materials.
    Sbom,
    /// The index of an OCI image.
    OciRootIndex,
    /// A blob of an OCI image.
    OciBlob,
    /// Any other number.
    Other(i32),
}

impl DataType {
    fn from_number(number: i32) -> Self {
        match number {
            0x4001 => Self::DefinitionFile,
            0x4002 => Self::EnvVar,
            0x4003 => Self::Labels,
            0x4004 => Self::Partition,
            0x4005 => Self::Signature,
            0x4006 => Self::GenericJson,
            0x4007 => Self::Generic,
            0x4008 => Self::CryptoMessage,
            0x4009 => Self::Sbom,
            0x400a => Self::OciRootIndex,
            0x400b => Self::OciBlob,
            other => Self::Other(other),
        }
    }
}

/// An entry of the table: one data object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// What the object is.
    pub kind: DataType,
    /// Its number in this file.
    pub id: u32,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// Its name.
    pub name: String,
}

impl Descriptor {
    /// Its length in the file, in bytes.
    pub const SIZE: usize = 585;

    /// Reads one; `None` for an entry that is not in use.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, SifError> {
        if bytes[4] == 0 {
            return Ok(None);
        }
        let name = &bytes[73..201];
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(Some(Self {
            kind: DataType::from_number(int32(bytes, 0)),
            id: int32(bytes, 5).cast_unsigned(),
            offset: length(bytes, 17, "the place of an object")?,
            size: length(bytes, 25, "the size of an object")?,
            created: int64(bytes, 41),
            name: String::from_utf8_lossy(name).into_owned(),
        }))
    }

    /// Where it ends, in bytes.
    pub(super) fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }
}

//! The entries of a SIF file's table.

use std::fmt;

use super::SifError;
use super::fields::{int32, int64, length, text};
use super::kind::{
    Arch, DataType, FsType, HashType, MessageFormat, MessageType, PartitionType, SbomFormat,
};

/// An entry of the table: one data object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// What the object is.
    pub kind: DataType,
    /// Its number in this file.
    pub id: u32,
    /// The group that it is in.
    pub group: Option<u32>,
    /// What it is about.
    pub link: Option<Link>,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it was last changed, in seconds since 1970.
    pub modified: i64,
    /// Its name; empty where it has none.
    pub name: String,
    /// What goes with its type.
    pub detail: Detail,
}

/// What an object is about: a signature, say, about a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// One object.
    Object(u32),
    /// All objects of a group.
    Group(u32),
}

/// What goes with the type of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Detail {
    /// Nothing.
    None,
    /// Of a partition.
    Partition {
        /// Its file system.
        fs: FsType,
        /// What it is for.
        kind: PartitionType,
        /// What it runs on.
        arch: Arch,
    },
    /// Of a signature.
    Signature {
        /// Its hash.
        hash: HashType,
        /// The fingerprint of the key; empty for one that is not OpenPGP.
        fingerprint: Vec<u8>,
    },
    /// Of an encrypted key.
    CryptoMessage {
        /// How it is written down.
        format: MessageFormat,
        /// How it is encrypted.
        kind: MessageType,
    },
    /// Of a bill of materials.
    Sbom {
        /// Its format.
        format: SbomFormat,
    },
    /// Of an OCI index or blob.
    Oci {
        /// Its digest: `sha256:..`.
        digest: String,
    },
}

/// The bits that mark the number of a group.
pub(super) const GROUP: u32 = 0xf000_0000;

impl Descriptor {
    /// Its length in the file, in bytes.
    pub const SIZE: usize = 585;

    /// Reads one; `None` for an entry that is not in use.
    pub(super) fn parse(bytes: &[u8; Self::SIZE]) -> Result<Option<Self>, SifError> {
        if bytes[4] == 0 {
            return Ok(None);
        }
        let unsigned = |at| int32(bytes, at).cast_unsigned();
        let kind = DataType::from_number(int32(bytes, 0));
        let group = unsigned(9) & !GROUP;
        let link = match (unsigned(13), unsigned(13) & !GROUP) {
            (_, 0) => None,
            (raw, number) if raw & GROUP == GROUP => Some(Link::Group(number)),
            (raw, _) => Some(Link::Object(raw)),
        };
        Ok(Some(Self {
            kind,
            id: unsigned(5),
            group: (group != 0).then_some(group),
            link,
            offset: length(bytes, 17, "the place of an object")?,
            size: length(bytes, 25, "the size of an object")?,
            created: int64(bytes, 41),
            modified: int64(bytes, 49),
            name: text(&bytes[73..201]),
            detail: Detail::parse(kind, &bytes[201..]),
        }))
    }

    /// Where it ends, in bytes.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.size)
    }

    /// Whether it is the file system that is run.
    pub fn is_primary_partition(&self) -> bool {
        let kind = PartitionType::PrimarySystem;
        matches!(&self.detail, Detail::Partition { kind: found, .. } if *found == kind)
    }
}

impl Detail {
    fn parse(kind: DataType, extra: &[u8]) -> Self {
        /// An SHA-1 fingerprint, as OpenPGP has them.
        const FINGERPRINT: usize = 20;
        match kind {
            DataType::Partition => Self::Partition {
                fs: FsType::from_number(int32(extra, 0)),
                kind: PartitionType::from_number(int32(extra, 4)),
                arch: Arch::from_digits([extra[8], extra[9], extra[10]]),
            },
            DataType::Signature => {
                let entity = &extra[4..4 + FINGERPRINT];
                let is_set = entity.iter().any(|byte| *byte != 0);
                Self::Signature {
                    hash: HashType::from_number(int32(extra, 0)),
                    fingerprint: if is_set { entity.to_vec() } else { Vec::new() },
                }
            }
            DataType::CryptoMessage => Self::CryptoMessage {
                format: MessageFormat::from_number(int32(extra, 0)),
                kind: MessageType::from_number(int32(extra, 4)),
            },
            DataType::Sbom => Self::Sbom {
                format: SbomFormat::from_number(int32(extra, 0)),
            },
            DataType::OciRootIndex | DataType::OciBlob => Self::Oci {
                digest: text(extra),
            },
            _ => Self::None,
        }
    }
}

/// The type and what goes with it, as `apptainer sif list` shows them.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Detail::Partition { fs, kind, arch } => {
                write!(f, "{} ({fs}/{kind}/{arch})", self.kind)
            }
            Detail::Signature { hash, .. } => write!(f, "{} ({hash})", self.kind),
            Detail::CryptoMessage { format, kind } => {
                write!(f, "{} ({format}/{kind})", self.kind)
            }
            Detail::Sbom { format } => write!(f, "{} ({format})", self.kind),
            Detail::None | Detail::Oci { .. } => write!(f, "{}", self.kind),
        }
    }
}

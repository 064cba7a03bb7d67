//! `apptainer sif add`.

use std::ffi::OsString;
use std::path::Path;

use crate::command::options::{options, positional};
use crate::sif::{Arch, DataType, FsType, HashType, PartitionType, SbomFormat};

options! {
    /// Adds an object to a SIF file: `apptainer sif add FILE OBJECT`.
    pub command Add = ["sif", "add"] {
        groups {}
        positional {
            file: OsString,
            object: OsString,
        }
        flags {
            /// A number of bytes that its place is a multiple of.
            alignment: value(u32) = "--alignment";
            /// What it is.
            datatype: value(DataType) = "--datatype";
            /// Its name; that of the file otherwise.
            filename: value(String) = "--filename";
            /// The group that it is in.
            groupid: value(u32) = "--groupid";
            /// The object, or the group, that it is about.
            link: value(u32) = "--link";
            /// What a partition runs on.
            partarch: value(Arch) = "--partarch";
            /// The file system of a partition.
            partfs: value(FsType) = "--partfs";
            /// What a partition is for.
            parttype: value(PartitionType) = "--parttype";
            /// The format of a bill of materials.
            sbomformat: value(SbomFormat) = "--sbomformat";
            /// The fingerprint of the signer.
            signentity: value(String) = "--signentity";
            /// The hash of a signature.
            signhash: value(HashType) = "--signhash";
        }
    }
}

impl Add {
    /// Adds the file `object` to `file`, as this type of object.
    pub fn new(file: impl AsRef<Path>, object: impl AsRef<Path>, datatype: DataType) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            object: positional(object.as_ref().as_os_str()),
            datatype: Some(datatype),
            ..Self::unset()
        }
    }
}

//! What is in SIF files, in the numbers of `apptainer sif add`.

use std::ffi::OsString;

use crate::command::value::Value;
use crate::sif::{Arch, DataType, FsType, HashType, PartitionType, SbomFormat};

impl Value for DataType {
    /// It counts from 1 what files count from 0x4001.
    fn to_word(&self) -> OsString {
        (self.number() & 0xff).to_string().into()
    }
}

impl Value for SbomFormat {
    fn to_word(&self) -> OsString {
        self.to_string().into()
    }
}

macro_rules! number_values {
    ($($kind:ty),*) => { $(
        impl Value for $kind {
            fn to_word(&self) -> OsString {
                self.number().to_string().into()
            }
        }
    )* };
}
number_values!(Arch, FsType, HashType, PartitionType);

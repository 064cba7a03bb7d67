//! What the objects of a SIF file are, in the numbers of `apptainer sif add`.

use std::ffi::OsString;

use crate::command::options::Value;

/// Declares a closed set of values with the words for them.
macro_rules! words {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $word:literal, )* } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$doc])* $variant, )*
        }

        impl Value for $name {
            fn to_word(&self) -> OsString {
                match self {
                    $( Self::$variant => $word, )*
                }
                .into()
            }
        }
    )* };
}

words! {
    /// What a data object is.
    DataType {
        /// A definition file.
        DefinitionFile = "1",
        /// Environment variables.
        EnvVar = "2",
        /// Labels.
        Labels = "3",
        /// A file system.
        Partition = "4",
        /// A signature.
        Signature = "5",
        /// A JSON document.
        GenericJson = "6",
        /// Anything.
        Generic = "7",
        /// An encrypted key.
        CryptoMessage = "8",
        /// A software bill of materials.
        Sbom = "9",
        /// The index of an OCI image.
        OciRootIndex = "10",
        /// A blob of an OCI image.
        OciBlob = "11",
    }

    /// What a partition is for.
    PartType {
        /// A file system.
        System = "1",
        /// The file system that is run.
        PrimarySystem = "2",
        /// Data.
        Data = "3",
        /// A writable layer.
        Overlay = "4",
    }

    /// The file system of a partition.
    FsType {
        /// SquashFS.
        Squashfs = "1",
        /// Ext3.
        Ext3 = "2",
        /// A stream of data that nothing changes.
        ImmutableObject = "3",
        /// Raw data.
        Raw = "4",
    }

    /// What a partition runs on.
    Arch {
        /// `386`.
        I386 = "1",
        /// `amd64`.
        Amd64 = "2",
        /// `arm`.
        Arm = "3",
        /// `arm64`.
        Arm64 = "4",
        /// `ppc64`.
        Ppc64 = "5",
        /// `ppc64le`.
        Ppc64le = "6",
        /// `mips`.
        Mips = "7",
        /// `mipsle`.
        Mipsle = "8",
        /// `mips64`.
        Mips64 = "9",
        /// `mips64le`.
        Mips64le = "10",
        /// `s390x`.
        S390x = "11",
        /// `riscv64`.
        Riscv64 = "12",
    }

    /// The hash of a signature.
    HashType {
        /// SHA-256.
        Sha256 = "1",
        /// SHA-384.
        Sha384 = "2",
        /// SHA-512.
        Sha512 = "3",
        /// BLAKE2s-256.
        Blake2s256 = "4",
        /// BLAKE2b-256.
        Blake2b256 = "5",
    }

    /// The format of a software bill of materials.
    SbomFormat {
        /// `cyclonedx-json`.
        CycloneDxJson = "cyclonedx-json",
        /// `cyclonedx-xml`.
        CycloneDxXml = "cyclonedx-xml",
        /// `github-json`.
        GithubJson = "github-json",
        /// `spdx-json`.
        SpdxJson = "spdx-json",
        /// `spdx-rdf`.
        SpdxRdf = "spdx-rdf",
        /// `spdx-tag-value`.
        SpdxTagValue = "spdx-tag-value",
        /// `spdx-yaml`.
        SpdxYaml = "spdx-yaml",
        /// `syft-json`.
        SyftJson = "syft-json",
    }
}

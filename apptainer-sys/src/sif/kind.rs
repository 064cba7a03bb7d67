//! What SIF files number: the types of objects, and what goes with them.

use std::fmt;

/// Declares an enum of numbers that another program assigned, with the names that
/// it prints for them. A number that is not known is kept.
macro_rules! numbered {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident = $number:literal, $shown:literal; )*
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[$doc])* $variant, )*
            /// Any other number.
            Other(i32),
        }

        impl $name {
            /// The one that stands for a number.
            pub fn from_number(number: i32) -> Self {
                match number {
                    $( $number => Self::$variant, )*
                    other => Self::Other(other),
                }
            }

            /// Its number.
            pub fn number(self) -> i32 {
                match self {
                    $( Self::$variant => $number, )*
                    Self::Other(number) => number,
                }
            }
        }

        /// As `apptainer sif` shows it.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $( Self::$variant => f.pad($shown), )*
                    Self::Other(_) => f.pad("Unknown"),
                }
            }
        }
    )* };
}

numbered! {
    /// What a data object is.
    pub enum DataType {
        /// A definition file.
        DefinitionFile = 0x4001, "Def.FILE";
        /// Environment variables.
        EnvVar = 0x4002, "Env.Vars";
        /// Labels.
        Labels = 0x4003, "JSON.Labels";
        /// A file system.
        Partition = 0x4004, "FS";
        /// A signature.
        Signature = 0x4005, "Signature";
        /// A JSON document.
        GenericJson = 0x4006, "JSON.Generic";
        /// Anything.
        Generic = 0x4007, "Generic/Raw";
        /// An encrypted key.
        CryptoMessage = 0x4008, "Cryptographic Message";
        /// A software bill of materials.
        Sbom = 0x4009, "SBOM";
        /// The index of an OCI image.
        OciRootIndex = 0x400a, "OCI.RootIndex";
        /// A blob of an OCI image.
        OciBlob = 0x400b, "OCI.Blob";
    }

    /// The file system of a partition.
    pub enum FsType {
        /// SquashFS.
        Squashfs = 1, "Squashfs";
        /// Ext3.
        Ext3 = 2, "Ext3";
        /// A stream of data that nothing changes.
        ImmutableObject = 3, "Archive";
        /// Raw data.
        Raw = 4, "Raw";
        /// SquashFS in a LUKS volume.
        EncryptedSquashfs = 5, "Encrypted squashfs";
        /// SquashFS below gocryptfs.
        Gocryptfs = 6, "Gocryptfs squashfs";
    }

    /// What a partition is for.
    pub enum PartitionType {
        /// A file system.
        System = 1, "System";
        /// The file system that is run.
        PrimarySystem = 2, "*System";
        /// Data.
        Data = 3, "Data";
        /// A writable layer.
        Overlay = 4, "Overlay";
    }

    /// A processor architecture, by the name that Go has for it.
    pub enum Arch {
        /// Not said.
        Unknown = 0, "unknown";
        /// 32-bit x86.
        I386 = 1, "386";
        /// 64-bit x86.
        Amd64 = 2, "amd64";
        /// 32-bit Arm.
        Arm = 3, "arm";
        /// 64-bit Arm.
        Arm64 = 4, "arm64";
        /// 64-bit POWER, big-endian.
        Ppc64 = 5, "ppc64";
        /// 64-bit POWER, little-endian.
        Ppc64Le = 6, "ppc64le";
        /// 32-bit MIPS, big-endian.
        Mips = 7, "mips";
        /// 32-bit MIPS, little-endian.
        MipsLe = 8, "mipsle";
        /// 64-bit MIPS, big-endian.
        Mips64 = 9, "mips64";
        /// 64-bit MIPS, little-endian.
        Mips64Le = 10, "mips64le";
        /// 64-bit Z.
        S390x = 11, "s390x";
        /// 64-bit RISC-V.
        Riscv64 = 12, "riscv64";
        /// 64-bit LoongArch.
        Loong64 = 13, "loong64";
    }

    /// The hash of a signature.
    pub enum HashType {
        /// SHA-256.
        Sha256 = 1, "SHA-256";
        /// SHA-384.
        Sha384 = 2, "SHA-384";
        /// SHA-512.
        Sha512 = 3, "SHA-512";
        /// BLAKE2s-256.
        Blake2s256 = 4, "BLAKE2s-256";
        /// BLAKE2b-256.
        Blake2b256 = 5, "BLAKE2b-256";
    }

    /// How an encrypted key is written down.
    pub enum MessageFormat {
        /// OpenPGP.
        OpenPgp = 1, "OpenPGP";
        /// PEM.
        Pem = 2, "PEM";
    }

    /// How a key is encrypted.
    pub enum MessageType {
        /// Not at all: a signed text.
        ClearSignature = 0x100, "Clear Signature";
        /// With RSA.
        RsaOaep = 0x200, "RSA-OAEP";
    }

    /// The format of a software bill of materials.
    pub enum SbomFormat {
        /// CycloneDX in JSON.
        CycloneDxJson = 1, "cyclonedx-json";
        /// CycloneDX in XML.
        CycloneDxXml = 2, "cyclonedx-xml";
        /// GitHub's JSON.
        GithubJson = 3, "github-json";
        /// SPDX in JSON.
        SpdxJson = 4, "spdx-json";
        /// SPDX in RDF.
        SpdxRdf = 5, "spdx-rdf";
        /// SPDX in lines of tag and value.
        SpdxTagValue = 6, "spdx-tag-value";
        /// SPDX in YAML.
        SpdxYaml = 7, "spdx-yaml";
        /// Syft's JSON.
        SyftJson = 8, "syft-json";
    }
}

impl Arch {
    /// Reads the two digits, and the NUL behind them, of headers and partitions.
    pub(super) fn from_digits(field: [u8; 3]) -> Self {
        let digits = std::str::from_utf8(&field[..2]).ok();
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(number) => Self::from_number(number),
            None => Self::Other(i32::from(u16::from_be_bytes([field[0], field[1]]))),
        }
    }

    /// Those digits. There are two of them, whatever the number.
    pub(super) fn digits(self) -> [u8; 3] {
        let number = u8::try_from(self.number()).map_or(0, |number| number % 100);
        [b'0' + number / 10, b'0' + number % 10, 0]
    }

    /// That of this machine.
    pub fn of_this_machine() -> Self {
        match std::env::consts::ARCH {
            "x86" => Self::I386,
            "x86_64" => Self::Amd64,
            "arm" => Self::Arm,
            "aarch64" => Self::Arm64,
            "powerpc64" if cfg!(target_endian = "little") => Self::Ppc64Le,
            "powerpc64" => Self::Ppc64,
            "s390x" => Self::S390x,
            "riscv64" => Self::Riscv64,
            "loongarch64" => Self::Loong64,
            _ => Self::Unknown,
        }
    }
}

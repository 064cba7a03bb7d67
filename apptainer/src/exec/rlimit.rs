//! Limits of what one process may use.

use serde::{Deserialize, Serialize};

/// A resource that the kernel limits for each process: setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resource {
    /// CPU time, in seconds.
    Cpu,
    /// The size of a file that it writes, in bytes.
    FileSize,
    /// Its data segment, in bytes.
    Data,
    /// Its stack, in bytes.
    Stack,
    /// A core dump, in bytes.
    Core,
    /// Processes and threads of its user.
    Processes,
    /// Open descriptors.
    OpenFiles,
    /// Memory locked into RAM, in bytes.
    LockedMemory,
    /// Its address space, in bytes.
    AddressSpace,
}

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

impl Resource {
    /// As linux/resource.h has it for all processors that there is an agent for.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Cpu => 0,
            Self::FileSize => 1,
            Self::Data => 2,
            Self::Stack => 3,
            Self::Core => 4,
            Self::Processes => 6,
            Self::OpenFiles => 7,
            Self::LockedMemory => 8,
            Self::AddressSpace => 9,
        }
    }
}

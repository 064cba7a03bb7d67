//! What root may do, in parts.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use super::Value;

/// Text that names no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Linux capability: they are named as in CAP_NET_RAW")]
pub struct ParseCapabilityError {
    /// What was given.
    pub text: String,
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $number:literal $word:literal,)*) => {
        /// A Linux capability, numbered as in capabilities(7).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Capability {
            $( $(#[$doc])* $name = $number, )*
        }

        impl Capability {
            /// Every one that Linux has, by number.
            pub const ALL: &'static [Self] = &[$( Self::$name, )*];

            /// Its name: `CAP_NET_RAW`.
            pub fn name(self) -> &'static str {
                match self {
                    $( Self::$name => concat!("CAP_", $word), )*
                }
            }
        }
    };
}

capabilities! {
    /// Changes the owner of any file.
    Chown = 0 "CHOWN",
    /// Reads, writes and executes any file.
    DacOverride = 1 "DAC_OVERRIDE",
    /// Reads any file and searches any directory.
    DacReadSearch = 2 "DAC_READ_SEARCH",
    /// Does to any file what its owner may.
    Fowner = 3 "FOWNER",
    /// Keeps set-user-id bits of files that are changed.
    Fsetid = 4 "FSETID",
    /// Signals any process.
    Kill = 5 "KILL",
    /// Takes on any group.
    Setgid = 6 "SETGID",
    /// Takes on any user.
    Setuid = 7 "SETUID",
    /// Changes capabilities of processes.
    Setpcap = 8 "SETPCAP",
    /// Sets a file's immutable and append-only attributes.
    LinuxImmutable = 9 "LINUX_IMMUTABLE",
    /// Binds to ports below 1024.
    NetBindService = 10 "NET_BIND_SERVICE",
    /// Broadcasts, and listens to multicasts.
    NetBroadcast = 11 "NET_BROADCAST",
    /// Configures the network.
    NetAdmin = 12 "NET_ADMIN",
    /// Uses raw and packet sockets.
    NetRaw = 13 "NET_RAW",
    /// Locks memory.
    IpcLock = 14 "IPC_LOCK",
    /// Passes over permissions of System V IPC objects.
    IpcOwner = 15 "IPC_OWNER",
    /// Loads and unloads kernel modules.
    SysModule = 16 "SYS_MODULE",
    /// Does raw input and output to ports and devices.
    SysRawio = 17 "SYS_RAWIO",
    /// Changes its root directory.
    SysChroot = 18 "SYS_CHROOT",
    /// Traces any process.
    SysPtrace = 19 "SYS_PTRACE",
    /// Turns process accounting on and off.
    SysPacct = 20 "SYS_PACCT",
    /// Mounts, and much else.
    SysAdmin = 21 "SYS_ADMIN",
    /// Reboots.
    SysBoot = 22 "SYS_BOOT",
    /// Raises priorities and chooses schedulers.
    SysNice = 23 "SYS_NICE",
    /// Passes over resource limits.
    SysResource = 24 "SYS_RESOURCE",
    /// Sets the clock.
    SysTime = 25 "SYS_TIME",
    /// Configures terminals.
    SysTtyConfig = 26 "SYS_TTY_CONFIG",
    /// Makes device files.
    Mknod = 27 "MKNOD",
    /// Takes leases on any file.
    Lease = 28 "LEASE",
    /// Writes to the kernel's audit log.
    AuditWrite = 29 "AUDIT_WRITE",
    /// Configures auditing.
    AuditControl = 30 "AUDIT_CONTROL",
    /// Sets capabilities of files.
    Setfcap = 31 "SETFCAP",
    /// Passes over mandatory access control.
    MacOverride = 32 "MAC_OVERRIDE",
    /// Configures mandatory access control.
    MacAdmin = 33 "MAC_ADMIN",
    /// Reads and configures the kernel's log.
    Syslog = 34 "SYSLOG",
    /// Wakes the system up.
    WakeAlarm = 35 "WAKE_ALARM",
    /// Keeps the system from being suspended.
    BlockSuspend = 36 "BLOCK_SUSPEND",
    /// Reads the audit log.
    AuditRead = 37 "AUDIT_READ",
    /// Monitors performance.
    Perfmon = 38 "PERFMON",
    /// Uses BPF.
    Bpf = 39 "BPF",
    /// Checkpoints and restores processes.
    CheckpointRestore = 40 "CHECKPOINT_RESTORE",
}

impl Capability {
    /// Its number, which is its bit in a set of capabilities.
    pub fn number(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// In any case, with or without `CAP_`.
impl FromStr for Capability {
    type Err = ParseCapabilityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let upper = text.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        Self::ALL
            .iter()
            .find(|capability| capability.name()["CAP_".len()..] == *short)
            .copied()
            .ok_or_else(|| ParseCapabilityError {
                text: text.to_owned(),
            })
    }
}

impl Value for Capability {
    fn to_word(&self) -> OsString {
        self.name().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        for text in ["CAP_NET_RAW", "net_raw", "cap_Net_Raw"] {
            assert_eq!(text.parse(), Ok(Capability::NetRaw));
        }
        assert!("CAP_".parse::<Capability>().is_err());
        assert!("CAP_CAP_KILL".parse::<Capability>().is_err());
        assert!("root".parse::<Capability>().is_err());
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (number, capability) in (0..).zip(Capability::ALL) {
            assert_eq!(capability.number(), number);
        }
        assert_eq!(Capability::ALL.len(), 41);
    }
}

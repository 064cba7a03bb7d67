//! File systems that a program serves.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Reason, Value};

/// A FUSE file system: `container:sshfs host:/ /mnt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FuseMount {
    place: &'static str,
    detached: bool,
    command: OsString,
    mountpoint: PathBuf,
}

impl FuseMount {
    /// Served by a program of the container.
    ///
    /// `command` is the program and its arguments, separated by blanks, without
    /// the mount point.
    pub fn in_container(command: impl Into<OsString>, mountpoint: impl Into<PathBuf>) -> Self {
        Self::new("container", command.into(), mountpoint.into())
    }

    /// Served by a program of the host.
    pub fn on_host(command: impl Into<OsString>, mountpoint: impl Into<PathBuf>) -> Self {
        Self::new("host", command.into(), mountpoint.into())
    }

    fn new(place: &'static str, command: OsString, mountpoint: PathBuf) -> Self {
        Self {
            place,
            detached: false,
            command,
            mountpoint,
        }
    }

    /// By a program that goes into the background by itself.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.detached = true;
        self
    }
}

impl Value for FuseMount {
    fn to_word(&self) -> OsString {
        let mut word = OsString::from(self.place);
        word.push(if self.detached { "-daemon:" } else { ":" });
        word.push(&self.command);
        word.push(" ");
        word.push(&self.mountpoint);
        word
    }

    fn check(&self) -> Result<(), Reason> {
        if self.command.as_bytes().trim_ascii().is_empty() {
            return Err("there must be a program to serve it");
        }
        let mountpoint = self.mountpoint.as_os_str().as_bytes();
        if !self.mountpoint.is_absolute() || mountpoint.iter().any(u8::is_ascii_whitespace) {
            return Err("the mount point must be an absolute path without blanks");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_point_is_the_last_word() {
        let cases = [
            (
                FuseMount::in_container("sshfs host:/", "/mnt"),
                "container:sshfs host:/ /mnt",
            ),
            (
                FuseMount::on_host("sshfs host:/", "/mnt").detached(),
                "host-daemon:sshfs host:/ /mnt",
            ),
        ];
        for (mount, word) in cases {
            assert_eq!(mount.to_word(), word);
            assert_eq!(mount.check(), Ok(()));
        }
        for mount in [
            FuseMount::in_container(" ", "/mnt"),
            FuseMount::in_container("sshfs", "mnt"),
            FuseMount::in_container("sshfs", "/mnt point"),
        ] {
            assert!(mount.check().is_err(), "{mount:?}");
        }
    }
}

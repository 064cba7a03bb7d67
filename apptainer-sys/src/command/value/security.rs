//! Security features of the kernel.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Reason, Value};

/// A security feature for the container. To be another user or group needs root, or an
/// Apptainer that runs without its setuid program.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Security {
    /// An AppArmor profile, by name.
    AppArmor(String),
    /// A file with a seccomp profile.
    Seccomp(PathBuf),
    /// An SELinux label.
    Selinux(String),
    /// Runs as this user.
    Uid(u32),
    /// Runs with these groups.
    Gids(Vec<u32>),
}

impl Value for Security {
    fn to_word(&self) -> OsString {
        let mut word = OsString::from(match self {
            Self::AppArmor(_) => "apparmor:",
            Self::Seccomp(_) => "seccomp:",
            Self::Selinux(_) => "selinux:",
            Self::Uid(_) => "uid:",
            Self::Gids(_) => "gid:",
        });
        match self {
            Self::AppArmor(name) | Self::Selinux(name) => word.push(name),
            Self::Seccomp(path) => word.push(path),
            Self::Uid(uid) => word.push(uid.to_string()),
            Self::Gids(gids) => {
                let gids: Vec<_> = gids.iter().map(u32::to_string).collect();
                word.push(gids.join(":"));
            }
        }
        word
    }

    fn check(&self) -> Result<(), Reason> {
        let is_empty = match self {
            Self::AppArmor(name) | Self::Selinux(name) => name.is_empty(),
            Self::Seccomp(path) => path.as_os_str().is_empty(),
            Self::Uid(_) => false,
            Self::Gids(gids) => gids.is_empty(),
        };
        if is_empty {
            return Err("there must be something behind the colon");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_written_with_their_names() {
        let cases = [
            (Security::AppArmor("p".into()), "apparmor:p"),
            (
                Security::Seccomp("/etc/p.json".into()),
                "seccomp:/etc/p.json",
            ),
            (Security::Selinux("a:b:c".into()), "selinux:a:b:c"),
            (Security::Uid(7), "uid:7"),
            (Security::Gids(vec![7, 8]), "gid:7:8"),
        ];
        for (security, word) in cases {
            assert_eq!(security.to_word(), word);
            assert_eq!(security.check(), Ok(()));
        }
        assert!(Security::Gids(Vec::new()).check().is_err());
        assert!(Security::AppArmor(String::new()).check().is_err());
    }
}

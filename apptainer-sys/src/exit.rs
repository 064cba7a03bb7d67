//! What Apptainer's failures mean.
//!
//! Apptainer exits with 255 for every failure of its own, and its starter with
//! 1; a program in the container may exit with either as well. What tells them
//! apart is the last line on standard error. This module reads it.

use crate::output::{Level, Message, messages};
use crate::process::Exit;

/// Why Apptainer itself failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What Apptainer said of it.
    pub message: String,
}

/// Failures of Apptainer that a caller may want to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The program to run is not in the container.
    CommandNotFound,
    /// It is there, and cannot be run.
    CommandNotExecutable,
    /// The working directory is not in the container.
    WorkingDirectory,
    /// There is no such image file.
    ImageNotFound,
    /// The file is not an image that Apptainer knows, or a damaged one.
    InvalidImage,
    /// No instance has that name.
    InstanceNotFound,
    /// An instance of that name runs already.
    InstanceExists,
    /// A name that instances cannot have.
    InvalidInstanceName,
    /// What was to be bound or mounted is not there.
    MountSource,
    /// FUSE cannot be used.
    Fuse,
    /// User namespaces cannot be used.
    UserNamespace,
    /// The user has no subuid or subgid range.
    Subuid,
    /// Root may not have all the privileges that it asks for.
    Privileges,
    /// The registry wants a login, or another one.
    Unauthorized,
    /// The registry has no such image.
    NotInRegistry,
    /// The registry, or the way to it, failed.
    Registry,
    /// The disk, or a quota, is full.
    DiskFull,
    /// Apptainer did not understand its arguments.
    Usage,
    /// Anything else.
    Other,
}

impl FailureKind {
    /// What to do about it, where that is known.
    pub fn advice(self) -> Option<&'static str> {
        Some(match self {
            Self::Fuse => {
                "open /dev/fuse to this user and install squashfuse, or use a sandbox in place of the SIF file"
            }
            Self::UserNamespace => {
                "have the administrator allow unprivileged user namespaces (user.max_user_namespaces, and AppArmor's restriction on Ubuntu)"
            }
            Self::Subuid => {
                "have the administrator give this user a range in /etc/subuid and /etc/subgid"
            }
            Self::Privileges => {
                "drop root's privileges in the container (--no-privs), or run as an ordinary user"
            }
            Self::Unauthorized => {
                "log in with `apptainer registry login`, or set APPTAINER_DOCKER_USERNAME and APPTAINER_DOCKER_PASSWORD"
            }
            Self::DiskFull => {
                "free some space, or put the store and temporary files on another disk"
            }
            Self::NotInRegistry => "check the name and tag, and whether the image is private",
            Self::InstanceExists => "choose another name, or stop the instance first",
            Self::InvalidInstanceName => "use letters, digits, dots, underscores and dashes only",
            _ => return None,
        })
    }
}

/// Texts by which failures are known, most telling first.
///
/// Source: what Apptainer 1.4.5 prints when it is made to fail.
const SIGNS: &[(&str, FailureKind)] = &[
    (
        "executable file not found in $PATH",
        FailureKind::CommandNotFound,
    ),
    ("no space left on device", FailureKind::DiskFull),
    ("disk quota exceeded", FailureKind::DiskFull),
    (
        "failed to set working directory",
        FailureKind::WorkingDirectory,
    ),
    ("/dev/fuse", FailureKind::Fuse),
    ("fuse: device not found", FailureKind::Fuse),
    ("squashfuse not found", FailureKind::Fuse),
    (
        "trying to read the squashfs image",
        FailureKind::InvalidImage,
    ),
    ("image format not recognized", FailureKind::InvalidImage),
    ("reading descriptors", FailureKind::InvalidImage),
    ("could not open image", FailureKind::ImageNotFound),
    (
        "is not a valid instance name",
        FailureKind::InvalidInstanceName,
    ),
    ("no instance found", FailureKind::InstanceNotFound),
    ("doesn't exist", FailureKind::MountSource),
    ("already exists", FailureKind::InstanceExists),
    ("Requesting capability set", FailureKind::Privileges),
    ("no mapping entry found in", FailureKind::Subuid),
    ("user namespace", FailureKind::UserNamespace),
    ("unauthorized", FailureKind::Unauthorized),
    ("unexpected status code 401", FailureKind::Unauthorized),
    ("authentication required", FailureKind::Unauthorized),
    ("denied: ", FailureKind::Unauthorized),
    ("manifest unknown", FailureKind::NotInRegistry),
    ("name unknown", FailureKind::NotInRegistry),
    ("requested image was not found", FailureKind::NotInRegistry),
    ("container registry", FailureKind::Registry),
    ("oci registry", FailureKind::Registry),
    ("http(s)", FailureKind::Registry),
    ("While pulling library image", FailureKind::Registry),
    ("While pulling shub image", FailureKind::Registry),
    ("unknown flag", FailureKind::Usage),
    ("Error for command", FailureKind::Usage),
];

/// Texts of failures of registries, and of the way to them, that pass.
///
/// Source: what Apptainer 1.4.5 prints of a registry that fails so. It asks again by itself,
/// for minutes, where it is told that it asks too often.
const PASSING: &[&str] = &[
    "HTTP status: 429",
    "toomanyrequests",
    "HTTP status: 500",
    "HTTP status: 502",
    "HTTP status: 503",
    "HTTP status: 504",
    // Of `push`, and of `oras://`.
    "unexpected status code 429",
    "unexpected status code 500",
    "unexpected status code 502",
    "unexpected status code 503",
    "unexpected status code 504",
    "connection reset by peer",
    "broken pipe",
    "unexpected EOF",
    "i/o timeout",
    "TLS handshake timeout",
];

/// Texts that are all of a message: a program that is there and will not run.
const NOT_EXECUTABLE: &[&str] = &["permission denied", "is a directory", "exec format error"];

impl Failure {
    /// Whether it was Apptainer that failed, and not the program it ran: `exit`
    /// is one that Apptainer has of its own, and `stderr` ends with a message of
    /// its own.
    ///
    /// A program that exits with 255 after printing `FATAL:   ..` itself is
    /// taken for Apptainer. There is no telling them apart from outside.
    pub fn diagnose(exit: Exit, stderr: &[u8]) -> Option<Self> {
        let last_line = stderr
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .rfind(|line| !line.is_empty() && *line != b"\x1b[0m")?;
        let last = Message::parse(last_line)?;
        let is_apptainers = match exit.code()? {
            255 => last.level == Level::Fatal,
            1 => last.level == Level::Error,
            _ => false,
        };
        is_apptainers.then(|| Self::from_stderr(stderr))
    }

    /// Whether the same may well succeed a little later: a registry was busy, or a connection
    /// broke.
    pub fn may_pass(&self) -> bool {
        self.kind == FailureKind::Registry && PASSING.iter().any(|sign| self.message.contains(sign))
    }

    /// Reads the failure of a command that runs nothing in a container, and so
    /// is known to be Apptainer's own.
    pub fn from_stderr(stderr: &[u8]) -> Self {
        let told = |level| {
            messages(stderr)
                .filter(move |message| message.level == level)
                .map(|message| Self {
                    kind: kind_of(&message.text),
                    message: message.text.into_owned(),
                })
        };
        let telling = |failure: &Self| failure.kind != FailureKind::Other;
        told(Level::Fatal)
            .find(telling)
            .or_else(|| told(Level::Error).find(telling))
            .or_else(|| told(Level::Fatal).next_back())
            .or_else(|| told(Level::Error).next_back())
            .unwrap_or_else(|| {
                let text = String::from_utf8_lossy(stderr);
                let first = text.lines().find(|line| !line.trim().is_empty());
                Self {
                    kind: kind_of(first.unwrap_or_default()),
                    message: first.unwrap_or("it said nothing").trim().to_owned(),
                }
            })
    }
}

fn kind_of(text: &str) -> FailureKind {
    if NOT_EXECUTABLE.contains(&text) || text.ends_with("likely missing in the image") {
        return FailureKind::CommandNotExecutable;
    }
    // The path of a program that is not there, and nothing around it.
    if text.starts_with("stat /") && text.ends_with(": no such file or directory") {
        return FailureKind::CommandNotFound;
    }
    let sign = SIGNS.iter().find(|(sign, _)| text.contains(sign));
    sign.map_or(FailureKind::Other, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Signal;

    fn kind(stderr: &str) -> FailureKind {
        Failure::from_stderr(stderr.as_bytes()).kind
    }

    #[test]
    fn a_programs_own_255_is_its_own() {
        let exit = Exit::Code(255);
        assert_eq!(Failure::diagnose(exit, b""), None);
        assert_eq!(Failure::diagnose(exit, b"my own trouble\n"), None);
        assert_eq!(Failure::diagnose(exit, b"FATAL:   early\nmine\n"), None);
        assert_eq!(Failure::diagnose(Exit::Code(3), b"FATAL:   x\n"), None);
        assert_eq!(
            Failure::diagnose(Exit::Signal(Signal::KILL), b"FATAL:   x\n"),
            None
        );
    }

    #[test]
    fn apptainers_own_failures_are_recognised() {
        let found = Failure::diagnose(
            Exit::Code(255),
            b"FATAL:   \"nosuch\": executable file not found in $PATH\n",
        );
        assert_eq!(found.unwrap().kind, FailureKind::CommandNotFound);
        let coloured = b"\x1b[91mERROR  : Requesting capability set 0x1 while permitted capability set is 0x0\n\x1b[0m";
        let found = Failure::diagnose(Exit::Code(1), coloured).unwrap();
        assert_eq!(found.kind, FailureKind::Privileges);
    }

    #[test]
    fn the_first_message_that_tells_something_counts() {
        let stderr = "ERROR:   container cleanup failed: no instance found with name foo\n\
            FATAL:   container creation failed: squashfuse_ll exited: fuse: failed to open /dev/fuse: Permission denied\n\n\
            FATAL:   while executing starter: failed to start instance: exit status 255\n";
        let failure = Failure::from_stderr(stderr.as_bytes());
        assert_eq!(failure.kind, FailureKind::Fuse);
    }

    #[test]
    fn failures_are_told_apart() {
        let cases = [
            (
                "FATAL:   stat /nosuch/prog: no such file or directory",
                FailureKind::CommandNotFound,
            ),
            (
                "FATAL:   permission denied",
                FailureKind::CommandNotExecutable,
            ),
            (
                "FATAL:   failed to set working directory: chdir /x: no such file or directory",
                FailureKind::WorkingDirectory,
            ),
            (
                "FATAL:   While checking container encryption: could not open image /x/junk.sif: image format not recognized",
                FailureKind::InvalidImage,
            ),
            (
                "FATAL:   While checking container encryption: could not open image /x.sif: lstat /x.sif: no such file or directory",
                FailureKind::ImageNotFound,
            ),
            (
                "FATAL:   instance foo already exists",
                FailureKind::InstanceExists,
            ),
            (
                "FATAL:   container creation failed: mount /a->/b error: mount source /a doesn't exist",
                FailureKind::MountSource,
            ),
            (
                "FATAL:   While making image from oci registry: reading manifest latest in h/n: manifest unknown",
                FailureKind::NotInRegistry,
            ),
            (
                "FATAL:   While making image from oci registry: unauthorized: authentication required",
                FailureKind::Unauthorized,
            ),
            (
                "FATAL:   Unable to push image to oci registry: HEAD http://h/v2/a/manifests/1: unexpected status code 401 Unauthorized (HEAD responses have no body, use GET for details)",
                FailureKind::Unauthorized,
            ),
            (
                "FATAL:   pinging container registry h: dial tcp: connect: connection refused",
                FailureKind::Registry,
            ),
            (
                "Error for command \"exec\": unknown flag: --nosuchflag\n\nUsage:",
                FailureKind::Usage,
            ),
            ("", FailureKind::Other),
        ];
        for (stderr, expected) in cases {
            assert_eq!(kind(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let may_pass = |said: &str| {
            let stderr = format!("FATAL:   While making image from oci registry: {said}");
            Failure::from_stderr(stderr.as_bytes()).may_pass()
        };
        assert!(may_pass(
            "reading manifest 1 in h/a: received unexpected HTTP status: 503 Service Unavailable"
        ));
        assert!(may_pass(
            "pinging container registry h: Get \"http://h/v2/\": read tcp a->b: read: connection reset by peer"
        ));
        assert!(may_pass(
            "GET http://h/v2/: unexpected status code 503 Service Unavailable"
        ));
        assert!(!may_pass("reading manifest 1 in h/a: manifest unknown"));
        assert!(!may_pass("unauthorized: authentication required"));
        assert!(!may_pass(
            "pinging container registry h: dial tcp: connect: connection refused"
        ));
        assert!(!may_pass(
            "write /tmp/x: no space left on device: unexpected EOF"
        ));
    }

    proptest::proptest! {
        #[test]
        fn no_output_makes_it_panic(code in 0..256, stderr: Vec<u8>) {
            let _ = Failure::diagnose(Exit::Code(code), &stderr);
            let _ = Failure::from_stderr(&stderr);
        }
    }
}

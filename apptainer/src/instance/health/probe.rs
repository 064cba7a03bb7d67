//! What can be asked of an instance.

use std::ffi::OsStr;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::Pid;
use serde::{Deserialize, Serialize};

use crate::Command;
use crate::exec::{Slot, Way};
use crate::instance::seconds;

/// What is asked of an instance to see whether it is well.
///
/// Whatever it is, an instance that does not run any more is not well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Probe {
    /// Runs a command in the instance, which exits with 0 where that is well. What it wrote is
    /// told where it does not.
    Command {
        /// The program, a path in the container or a name on its `PATH`, and its arguments. In
        /// them `{port:NAME}` stands for the number of a [`Port`](crate::instance::Port).
        argv: Vec<String>,
    },
    /// A process of the instance listens at this TCP port, and takes connections. Somebody
    /// else's server at the port does not count.
    ///
    /// In a network namespace of its own it is enough that something listens there: nobody
    /// outside can connect.
    Tcp {
        /// The port.
        port: PortRef,
    },
    /// A process of the instance listens at this port, and answers a `GET`. Plain HTTP only, and
    /// redirections are not followed: for all else run a [command](Self::Command).
    ///
    /// An instance in a network namespace of its own cannot be asked so.
    Http {
        /// The port.
        port: PortRef,
        /// The path, which begins with `/`, and the query; encoded as it is to be sent.
        #[serde(default = "root")]
        path: String,
        /// The status codes that are well: 200 to 399 unless said otherwise.
        #[serde(default = "accepted")]
        status: RangeInclusive<u16>,
    },
    /// There is a file, or anything else, at this path.
    File {
        /// The path in the container. Symbolic links are followed there too.
        path: PathBuf,
        /// If given, it has to have been modified within so long.
        #[serde(
            with = "seconds::option",
            default,
            skip_serializing_if = "Option::is_none"
        )]
        newer_than: Option<Duration>,
    },
    /// Code of the caller's, which cannot be serialised.
    #[serde(skip)]
    Custom(CustomProbe),
}

fn root() -> String {
    "/".to_owned()
}

fn accepted() -> RangeInclusive<u16> {
    200..=399
}

/// A port: its number, or the name of a [`Port`](crate::instance::Port) of the instance.
///
/// In JSON a number or a string.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// This one.
    Number(u16),
    /// The one that is called so.
    Name(String),
}

impl From<u16> for PortRef {
    fn from(number: u16) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for PortRef {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<String> for PortRef {
    fn from(name: String) -> Self {
        Self::Name(name)
    }
}

impl Probe {
    /// A [`Probe::Http`] of this path, which takes 200 to 399 for well.
    pub fn http(port: impl Into<PortRef>, path: impl Into<String>) -> Self {
        Self::Http {
            port: port.into(),
            path: path.into(),
            status: accepted(),
        }
    }

    /// What is wrong with it: fields and problems.
    pub(super) fn findings(&self) -> Vec<(&'static str, String)> {
        let mut findings = Vec::new();
        let mut check = |is_right: bool, field, problem: &str| {
            if !is_right {
                findings.push((field, problem.to_owned()));
            }
        };
        if let Self::Tcp { port } | Self::Http { port, .. } = self {
            let is_port = *port != PortRef::Number(0) && *port != PortRef::Name(String::new());
            check(
                is_port,
                "port",
                "must be a number above 0, or a port's name",
            );
        }
        match self {
            Self::Command { argv } => {
                let has_program = argv.first().is_some_and(|program| !program.is_empty());
                check(has_program, "argv", "must begin with a program");
                let has_nul = argv.iter().any(|word| word.contains('\0'));
                check(!has_nul, "argv", "must not hold a NUL byte");
            }
            Self::Http { path, status, .. } => {
                let is_path = path.starts_with('/') && path.bytes().all(|c| c.is_ascii_graphic());
                let problem = "must begin with `/`, and have only visible ASCII characters: encode others with `%`";
                check(is_path, "path", problem);
                let is_range = 100 <= *status.start()
                    && status.start() <= status.end()
                    && *status.end() <= 599;
                check(is_range, "status", "must be a range from 100 to 599");
            }
            Self::File { path, .. } => {
                let is_nul = |byte: &u8| *byte == 0;
                let has_nul = path.as_os_str().as_encoded_bytes().iter().any(is_nul);
                let problem = "must be an absolute path in the container";
                check(path.is_absolute() && !has_nul, "path", problem);
            }
            Self::Tcp { .. } | Self::Custom(_) => {}
        }
        findings
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// A probe that is code; the same as its clones and as nothing else.
#[derive(Clone)]
pub struct CustomProbe(Arc<dyn Fn(Probed) -> Answer + Send + Sync>);

impl CustomProbe {
    /// Asks this, which says why the instance is not well where it is not.
    ///
    /// It is dropped when it takes too long.
    pub fn new<F, R>(ask: F) -> Self
    where
        F: Fn(Probed) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self(Arc::new(move |probed| Box::pin(ask(probed))))
    }

    pub(super) fn ask(&self, probed: Probed) -> Answer {
        (self.0)(probed)
    }
}

impl PartialEq for CustomProbe {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for CustomProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomProbe(..)")
    }
}

/// The instance that a [`CustomProbe`] is asked about.
#[derive(Debug, Clone)]
pub struct Probed {
    pub(super) pid: Pid,
    pub(super) ports: Arc<[(String, u16)]>,
    pub(super) slot: Arc<Slot>,
}

impl Probed {
    /// The first process in the container, as the host numbers it.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The number of its port that is called so.
    pub fn port(&self, name: &str) -> Option<u16> {
        let mut ports = self.ports.iter();
        ports.find_map(|(other, number)| (other == name).then_some(*number))
    }

    /// A command in it: [`Instance::command`](crate::Instance::command).
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(Way::Slot(Arc::clone(&self.slot)), program)
    }
}

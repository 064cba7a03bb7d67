//! The networks of an instance.

use std::collections::BTreeMap;

use apptainer_sys::command::{Network, NetworkArgs, PortMap, Protocol};
use serde::{Deserialize, Serialize};

use crate::container::is_unset;

/// A network that an instance joins, by the name of its CNI configuration, and what the
/// network's plugins are told.
///
/// ```
/// use apptainer::instance::Joined;
///
/// let bridge = Joined::to("bridge").tcp_port(8080, 80);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joined {
    name: String,
    #[serde(default, skip_serializing_if = "is_unset")]
    ports: Vec<Mapped>,
    #[serde(default, skip_serializing_if = "is_unset")]
    args: BTreeMap<String, String>,
}

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapped {
    host: u16,
    container: u16,
    #[serde(default, rename = "udp", skip_serializing_if = "is_unset")]
    is_udp: bool,
}

impl Joined {
    /// The network of this name. `none` has a loopback interface, and is for everybody;
    /// `bridge`, `ptp` and others are root's, unless `apptainer.conf` says more.
    pub fn to(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ports: Vec::new(),
            args: BTreeMap::new(),
        }
    }

    /// Leads a TCP port of the host to one of the container.
    pub fn tcp_port(self, host: u16, container: u16) -> Self {
        self.port(host, container, false)
    }

    /// Leads a UDP port of the host to one of the container.
    pub fn udp_port(self, host: u16, container: u16) -> Self {
        self.port(host, container, true)
    }

    fn port(mut self, host: u16, container: u16, is_udp: bool) -> Self {
        self.ports.push(Mapped {
            host,
            container,
            is_udp,
        });
        self
    }

    /// Tells the network's plugins something else, such as the `IP` to have.
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.args.insert(name.into(), value.into());
        self
    }

    /// Whether it is the one without a way out.
    pub(super) fn is_none(&self) -> bool {
        self.name == "none"
    }

    pub(super) fn network(&self) -> Network {
        Network::named(&self.name)
    }

    /// What its plugins are told, if anything.
    pub(super) fn args(&self) -> Option<NetworkArgs> {
        if self.ports.is_empty() && self.args.is_empty() {
            return None;
        }
        let mut args = NetworkArgs::new().of(self.network());
        for port in &self.ports {
            args = args.port_map(PortMap {
                host: port.host,
                container: port.container,
                protocol: if port.is_udp {
                    Protocol::Udp
                } else {
                    Protocol::Tcp
                },
            });
        }
        let pairs = self.args.iter();
        Some(pairs.fold(args, |args, (name, value)| args.arg(name, value)))
    }
}

/// A namespace of the kernel's that an instance has to itself. That of processes it always has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Namespace {
    /// That of users and privileges, where setuid would be used otherwise.
    User,
    /// That of shared memory, semaphores and message queues.
    Ipc,
    /// That of the host's name.
    Uts,
}

/// What root keeps of its privileges in the container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Privileges {
    /// What `apptainer.conf` says.
    #[default]
    Configured,
    /// All of them. Only root can ask for it.
    Keep,
    /// None.
    Drop,
}

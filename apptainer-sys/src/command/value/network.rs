//! Networks that a container joins, and what their plugins are told.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use super::word::is_name;
use super::{Reason, Value};

/// A network by the name of its CNI configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network {
    name: Cow<'static, str>,
}

impl Network {
    /// Only the loopback interface. Needs no privileges.
    pub const NONE: Self = Self::known("none");
    /// A bridge with NAT, Apptainer's default. Needs root, or leave by
    /// `apptainer.conf`, as do all that follow.
    pub const BRIDGE: Self = Self::known("bridge");
    /// A point-to-point link with NAT.
    pub const PTP: Self = Self::known("ptp");
    /// IPVLAN on an interface of the host.
    pub const IPVLAN: Self = Self::known("ipvlan");
    /// MACVLAN on an interface of the host.
    pub const MACVLAN: Self = Self::known("macvlan");
    /// The one that `--fakeroot` may use.
    pub const FAKEROOT: Self = Self::known("fakeroot");

    const fn known(name: &'static str) -> Self {
        Self {
            name: Cow::Borrowed(name),
        }
    }

    /// One that the administrator has configured.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: Cow::Owned(name.into()),
        }
    }
}

impl Value for Network {
    fn to_word(&self) -> OsString {
        self.name.as_ref().into()
    }

    fn check(&self) -> Result<(), Reason> {
        if is_name(&self.name, b"_.-") {
            return Ok(());
        }
        Err("a network's name has letters, digits, and then dots, underscores and dashes")
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host that leads to one of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortMap {
    /// On the host.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// Of this protocol.
    pub protocol: Protocol,
}

/// As Apptainer writes it: `8080:80/tcp`.
impl fmt::Display for PortMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.container, self.protocol)
    }
}

/// What the plugins of one network are told.
///
/// ```
/// use apptainer_sys::command::{Exec, Network, NetworkArgs, PortMap, Protocol, Subcommand};
///
/// let mut exec = Exec::new("web.sif", "serve", [] as [&str; 0]);
/// let http = PortMap { host: 8080, container: 80, protocol: Protocol::Tcp };
/// exec.action
///     .net(true)
///     .network(Network::BRIDGE)
///     .network_args(NetworkArgs::new().port_map(http));
/// assert_eq!(
///     exec.argv(),
///     ["exec", "--net", "--network", "bridge", "--network-args", "portmap=8080:80/tcp", "web.sif", "serve"],
/// );
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct NetworkArgs {
    network: Option<Network>,
    port_maps: Vec<PortMap>,
    pairs: Vec<(Cow<'static, str>, String)>,
}

impl NetworkArgs {
    /// For the first of the container's networks.
    pub fn new() -> Self {
        Self::default()
    }

    /// For this one of the container's networks.
    #[must_use]
    pub fn of(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// Maps a port.
    #[must_use]
    pub fn port_map(mut self, map: PortMap) -> Self {
        self.port_maps.push(map);
        self
    }

    /// Asks for this address.
    #[must_use]
    pub fn ip(self, address: IpAddr) -> Self {
        self.push("IP", address.to_string())
    }

    /// Asks for an address of this subnet, whose mask has `prefix` bits.
    #[must_use]
    pub fn ip_range(self, subnet: IpAddr, prefix: u8) -> Self {
        self.push("ipRange", format!("{subnet}/{prefix}"))
    }

    /// Any other argument that a plugin understands.
    #[must_use]
    pub fn arg(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.push(name.into(), value.into())
    }

    fn push(mut self, name: impl Into<Cow<'static, str>>, value: String) -> Self {
        self.pairs.push((name.into(), value));
        self
    }
}

impl Value for NetworkArgs {
    fn to_word(&self) -> OsString {
        let maps = self.port_maps.iter().map(|map| format!("portmap={map}"));
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(name, value)| format!("{name}={value}"));
        let all = maps.chain(pairs).collect::<Vec<_>>().join(";");
        match &self.network {
            Some(network) => format!("{}:{all}", network.name),
            None => all,
        }
        .into()
    }

    fn check(&self) -> Result<(), Reason> {
        if self.port_maps.is_empty() && self.pairs.is_empty() {
            return Err("there must be at least one argument");
        }
        let is_none = |map: &PortMap| map.host == 0 || map.container == 0;
        if self.port_maps.iter().any(is_none) {
            return Err("a port is between 1 and 65535");
        }
        for (name, value) in &self.pairs {
            if name.is_empty() || name.contains([':', ';', '=']) || value.contains([';', '=']) {
                return Err(
                    "an argument is NAME=VALUE without further colons in the name, semicolons or equals signs",
                );
            }
        }
        self.network.as_ref().map_or(Ok(()), Network::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_one_network_are_one_word() {
        let dns = PortMap {
            host: 5353,
            container: 53,
            protocol: Protocol::Udp,
        };
        let args = NetworkArgs::new()
            .of(Network::named("lab"))
            .port_map(dns)
            .ip([10, 22, 0, 20].into())
            .ip_range([10, 22, 0, 0].into(), 16)
            .arg("mtu", "9000");
        assert_eq!(
            args.to_word(),
            "lab:portmap=5353:53/udp;IP=10.22.0.20;ipRange=10.22.0.0/16;mtu=9000"
        );
        assert_eq!(args.check(), Ok(()));
    }

    #[test]
    fn what_would_be_read_as_something_else_is_refused() {
        let zero = PortMap {
            host: 0,
            container: 80,
            protocol: Protocol::Tcp,
        };
        for args in [
            NetworkArgs::new(),
            NetworkArgs::new().port_map(zero),
            NetworkArgs::new().arg("a", "b;c=d"),
            NetworkArgs::new().arg("a:b", "c"),
            NetworkArgs::new().arg("", "c"),
            NetworkArgs::new().of(Network::named("a b")).arg("a", "b"),
        ] {
            assert!(args.check().is_err(), "{args:?}");
        }
        for name in ["", "a,b", "-a", "a/b"] {
            assert!(Network::named(name).check().is_err(), "{name}");
        }
    }
}

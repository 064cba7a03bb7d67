//! Ports that are kept for an instance for as long as it lives.

mod error;
mod reservation;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

pub use error::PortError;
pub(super) use reservation::Reservations;

/// A TCP port of this host that is kept free for an instance from before its start.
///
/// Without a [`number`](Self::number) the kernel chooses one that nobody has, and gives it to
/// nobody else. So two instances on one node never get the same, however many are started at
/// once.
///
/// ```
/// use apptainer::instance::Port;
///
/// let port = Port::named("http").env("PORT");
/// assert_eq!(port.number, None);
/// ```
///
/// # Limitations
///
/// - The server has to set `SO_REUSEADDR`, as nearly all do; for others there is
///   [`exclusive`](Self::exclusive).
/// - A program of somebody else that names the very number, and sets `SO_REUSEADDR` too, can
///   listen there before the instance does.
/// - It is a port of the network that the caller is in: in a network namespace of its own an
///   instance has all ports to itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Port {
    /// What it is called in the instance's arguments and variables: `{port:NAME}`.
    pub name: String,
    /// The one that it has to be; one is chosen otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u16>,
    /// The variable that tells it to the instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Under which address of this host it is used: that of the loopback, unless said
    /// otherwise. It is kept free under all addresses.
    #[serde(default = "loopback")]
    pub address: IpAddr,
    /// Whether it is let go right before the instance is started.
    #[serde(
        default,
        rename = "exclusive",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub is_exclusive: bool,
}

fn loopback() -> IpAddr {
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

impl Port {
    /// One that is chosen when the instance is started.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            number: None,
            env: None,
            address: loopback(),
            is_exclusive: false,
        }
    }

    /// Makes it this one and no other.
    pub fn number(mut self, number: u16) -> Self {
        self.number = Some(number);
        self
    }

    /// Tells it to the instance in this variable.
    pub fn env(mut self, variable: impl Into<String>) -> Self {
        self.env = Some(variable.into());
        self
    }

    /// Says under which address of this host it is used.
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Lets it go right before the instance is started, for a server that does not set
    /// `SO_REUSEADDR`.
    ///
    /// Until it listens, other instances of this user on this node still avoid the port; other
    /// programs may get it.
    pub fn exclusive(mut self, is_exclusive: bool) -> Self {
        self.is_exclusive = is_exclusive;
        self
    }

    /// What is wrong with it: fields and problems.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let mut findings = Vec::new();
        let mut found = |field: &str, problem: &str| {
            findings.push((field.to_owned(), problem.to_owned()));
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            found(
                "name",
                "must be letters, digits, dots, underscores and dashes",
            );
        }
        if self.number == Some(0) {
            found("number", "must not be 0: leave it out to have one chosen");
        }
        let is_variable = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        if !self.env.as_ref().is_none_or(is_variable) {
            found(
                "env",
                "must be a variable's name: not empty, without `=` and NUL",
            );
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_enough_and_what_is_said_survives() {
        let port: Port = serde_json::from_str(r#"{"name": "http"}"#).unwrap();
        assert_eq!(port, Port::named("http"));
        let port = Port::named("db")
            .number(5432)
            .env("PGPORT")
            .address([10, 0, 0, 1])
            .exclusive(true);
        let text = serde_json::to_string(&port).unwrap();
        assert_eq!(serde_json::from_str::<Port>(&text).unwrap(), port);
        let misspelt = serde_json::from_str::<Port>(r#"{"name": "http", "nubmer": 1}"#);
        assert!(misspelt.unwrap_err().to_string().contains("nubmer"));
    }

    #[test]
    fn what_cannot_be_is_found() {
        assert_eq!(Port::named("http").env("PORT").findings(), []);
        for (port, field) in [
            (Port::named(""), "name"),
            (Port::named("a}b"), "name"),
            (Port::named("a").number(0), "number"),
            (Port::named("a").env(""), "env"),
            (Port::named("a").env("A=B"), "env"),
        ] {
            let findings = port.findings();
            assert_eq!(findings.len(), 1, "{port:?}");
            assert_eq!(findings[0].0, field);
        }
    }
}

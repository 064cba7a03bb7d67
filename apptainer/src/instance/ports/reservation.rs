//! Ports that are kept free.
//!
//! A socket that is bound with `SO_REUSEADDR` and never listens keeps its port from whoever
//! asks the kernel for any, and from whoever binds without `SO_REUSEADDR`, but not from a
//! server that sets it. That is Linux's own rule (`inet_csk_get_port`), so the tests ask it.
//!
//! Our other reservations are kept away by a name of a socket, which the kernel has for each
//! network, as it has ports, and takes back from whoever is killed.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use super::{Port, PortError};
use crate::instance::health::has_connections;

/// How many ports may turn out to be somebody's in the other family, or another instance's.
const ATTEMPTS: usize = 256;

/// The ports of one instance. Dropped, they are free for all.
#[derive(Debug, Default)]
pub(in crate::instance) struct Reservations {
    held: Vec<Held>,
}

#[derive(Debug)]
struct Held {
    name: String,
    number: u16,
    is_exclusive: bool,
    /// One for each family that there is.
    sockets: Vec<OwnedFd>,
    /// Keeps our other reservations away, also where the sockets have been let go.
    _name: UnixDatagram,
}

impl Reservations {
    /// Reserves all of them, or none.
    pub(in crate::instance) fn of(ports: &[Port]) -> Result<Self, PortError> {
        let held: Result<_, _> = ports.iter().map(Held::of).collect();
        Ok(Self { held: held? })
    }

    /// Reserves those of an instance that has been started once more, as far as nobody has them:
    /// it has those itself, or is to have them.
    pub(in crate::instance) fn again(ports: &[Port], numbers: &[(String, u16)]) -> Self {
        let held = numbers.iter().filter_map(|(name, number)| {
            let port = ports.iter().find(|port| port.name == *name)?;
            Held::again(port, *number)
        });
        Self {
            held: held.collect(),
        }
    }

    /// Their names and numbers.
    pub(in crate::instance) fn numbers(&self) -> Vec<(String, u16)> {
        let held = self.held.iter();
        held.map(|held| (held.name.clone(), held.number)).collect()
    }

    /// Lets go of those whose servers could not bind otherwise: to be called right before the
    /// instance is started. Our other reservations avoid them still.
    pub(in crate::instance) fn release_before_start(&mut self) {
        for held in self.held.iter_mut().filter(|held| held.is_exclusive) {
            held.sockets.clear();
        }
    }
}

impl Held {
    fn of(port: &Port) -> Result<Self, PortError> {
        let (number, sockets, taken) = match port.number {
            Some(number) => reserve_fixed(port, number)?,
            None => reserve_any(port)?,
        };
        Ok(Self {
            name: port.name.clone(),
            number,
            is_exclusive: port.is_exclusive,
            sockets,
            _name: taken,
        })
    }

    fn again(port: &Port, number: u16) -> Option<Self> {
        let taken = take_name(number).ok().flatten()?;
        let sockets = if port.is_exclusive {
            Vec::new()
        } else {
            let first = bound(Ipv4Addr::UNSPECIFIED, number, Reuse::Allowed);
            let second = bound(Ipv6Addr::UNSPECIFIED, number, Reuse::Allowed);
            first.into_iter().chain(second).collect()
        };
        Some(Self {
            name: port.name.clone(),
            number,
            is_exclusive: port.is_exclusive,
            sockets,
            _name: taken,
        })
    }
}

type Reserved = (u16, Vec<OwnedFd>, UnixDatagram);

fn reserve_fixed(port: &Port, number: u16) -> Result<Reserved, PortError> {
    let taken = || PortError::Taken {
        name: port.name.clone(),
        number,
    };
    let name = take_name(number).map_err(|error| failed(port, "lock it", error))?;
    let name = name.ok_or_else(taken)?;
    match fixed(number) {
        Ok(sockets) => Ok((number, sockets, name)),
        Err(Errno::ADDRINUSE) => Err(taken()),
        Err(error) => Err(failed(port, "bind it", error)),
    }
}

fn reserve_any(port: &Port) -> Result<Reserved, PortError> {
    // Kept until one is found, so that none is offered twice.
    let mut refused = Vec::new();
    while refused.len() < ATTEMPTS {
        let first = match bound(Ipv4Addr::UNSPECIFIED, 0, Reuse::Allowed) {
            Ok(first) => first,
            Err(Errno::ADDRINUSE) => break,
            Err(error) => return Err(failed(port, "bind any", error)),
        };
        let number = number(&first).map_err(|error| failed(port, "ask for it", error))?;
        let second = match bound(Ipv6Addr::UNSPECIFIED, number, Reuse::Allowed) {
            Ok(second) => Some(second),
            Err(error) if is_without_ipv6(error) => None,
            Err(Errno::ADDRINUSE) => {
                refused.push(first);
                continue;
            }
            Err(error) => return Err(failed(port, "bind it", error)),
        };
        let name = take_name(number).map_err(|error| failed(port, "lock it", error))?;
        let Some(name) = name else {
            refused.push(first);
            continue;
        };
        let sockets = [first].into_iter().chain(second).collect();
        return Ok((number, sockets, name));
    }
    Err(PortError::NoneFree {
        name: port.name.clone(),
    })
}

fn failed(port: &Port, doing: &'static str, source: impl Into<io::Error>) -> PortError {
    PortError::Io {
        name: port.name.clone(),
        doing,
        source: source.into(),
    }
}

/// Takes the name of this port among this user's reservations; `None` while another has it.
fn take_name(number: u16) -> io::Result<Option<UnixDatagram>> {
    let user = nix::unistd::geteuid();
    let name = format!("apptainer-rs/{user}/port/{number}");
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    match UnixDatagram::bind_addr(&name) {
        Ok(taken) => Ok(Some(taken)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

/// Both families of one port.
fn fixed(number: u16) -> Result<Vec<OwnedFd>, Errno> {
    let first = fixed_at(Ipv4Addr::UNSPECIFIED, number)?;
    match fixed_at(Ipv6Addr::UNSPECIFIED, number) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if is_without_ipv6(error) => Ok(vec![first]),
        Err(error) => Err(error),
    }
}

/// Binds so that nobody else may have bound it, whether or not they let others; then lets the
/// server.
///
/// Connections that the last server has left on the port keep others from it too, for a minute,
/// but not who sets `SO_REUSEADDR`.
fn fixed_at(address: impl Family, number: u16) -> Result<OwnedFd, Errno> {
    match bound(address, number, Reuse::Refused) {
        Ok(socket) => {
            sockopt::set_socket_reuseaddr(&socket, true)?;
            Ok(socket)
        }
        Err(Errno::ADDRINUSE) if has_connections(number) => bound(address, number, Reuse::Allowed),
        Err(error) => Err(error),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Allowed,
    Refused,
}

trait Family: Copy {
    fn family(self) -> AddressFamily;
    fn with(self, number: u16) -> SocketAddr;
}

impl Family for Ipv4Addr {
    fn family(self) -> AddressFamily {
        AddressFamily::INET
    }

    fn with(self, number: u16) -> SocketAddr {
        (self, number).into()
    }
}

impl Family for Ipv6Addr {
    fn family(self) -> AddressFamily {
        AddressFamily::INET6
    }

    fn with(self, number: u16) -> SocketAddr {
        (self, number).into()
    }
}

fn bound(address: impl Family, number: u16, reuse: Reuse) -> Result<OwnedFd, Errno> {
    let family = address.family();
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if family == AddressFamily::INET6 {
        // It has to be there beside the one of the other family.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, reuse == Reuse::Allowed)?;
    bind(&socket, &address.with(number))?;
    Ok(socket)
}

fn number(socket: &OwnedFd) -> Result<u16, Errno> {
    SocketAddr::try_from(getsockname(socket)?).map(|address| address.port())
}

fn is_without_ipv6(error: Errno) -> bool {
    matches!(error, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
}

#[cfg(test)]
mod tests;

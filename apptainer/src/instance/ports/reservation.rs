//! Ports that are kept free.
//!
//! A socket that is bound with `SO_REUSEADDR` and never listens keeps its port from whoever
//! asks the kernel for any, and from whoever binds without `SO_REUSEADDR`, but not from a
//! server that sets it. That is Linux's own rule (`inet_csk_get_port`), so the tests ask it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

use super::{Port, PortError};
use crate::instance::health::has_connections;
use crate::lock::{FileLock, Locking};

/// How many ports may turn out to be somebody's in the other family, or another instance's.
const ATTEMPTS: usize = 256;

/// The ports of one instance. Dropped, they are free for all.
#[derive(Debug)]
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
    _lock: FileLock,
}

impl Reservations {
    /// Reserves all of them, or none. The folder is this user's on this node, the same for all
    /// who are not to get the same; it is made. Blocks for file operations.
    pub(in crate::instance) fn of(ports: &[Port], folder: &Path) -> Result<Self, PortError> {
        let held: Result<_, _> = ports.iter().map(|port| Held::of(port, folder)).collect();
        Ok(Self { held: held? })
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
    fn of(port: &Port, folder: &Path) -> Result<Self, PortError> {
        let (number, sockets, lock) = match port.number {
            Some(number) => reserve_fixed(port, number, folder)?,
            None => reserve_any(port, folder)?,
        };
        Ok(Self {
            name: port.name.clone(),
            number,
            is_exclusive: port.is_exclusive,
            sockets,
            _lock: lock,
        })
    }
}

type Reserved = (u16, Vec<OwnedFd>, FileLock);

fn reserve_fixed(port: &Port, number: u16, folder: &Path) -> Result<Reserved, PortError> {
    let taken = || PortError::Taken {
        name: port.name.clone(),
        number,
    };
    let lock = try_lock(folder, number).map_err(|error| failed(port, "lock it", error))?;
    let lock = lock.ok_or_else(taken)?;
    match fixed(number) {
        Ok(sockets) => Ok((number, sockets, lock)),
        Err(Errno::ADDRINUSE) => Err(taken()),
        Err(error) => Err(failed(port, "bind it", error)),
    }
}

fn reserve_any(port: &Port, folder: &Path) -> Result<Reserved, PortError> {
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
        let lock = try_lock(folder, number).map_err(|error| failed(port, "lock it", error))?;
        let Some(lock) = lock else {
            refused.push(first);
            continue;
        };
        let sockets = [first].into_iter().chain(second).collect();
        return Ok((number, sockets, lock));
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

fn try_lock(folder: &Path, number: u16) -> io::Result<Option<FileLock>> {
    fs::create_dir_all(folder)?;
    let locking = Locking::on_this_node(folder)?;
    FileLock::try_take(&folder.join(number.to_string()), locking)
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

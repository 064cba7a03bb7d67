//! Whether it is the instance that listens at a port.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;

use apptainer_sys::process::{Pid, Process};

use super::failure::ProbeFailure;
use super::proc_net::{Socket, sockets_of};
use super::sock_diag;
use crate::instance::processes::Processes;

/// Where an instance listens at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listening {
    /// In our network, under these addresses, of which one at least can be connected to.
    Here(Vec<SocketAddr>),
    /// In a network namespace of its own.
    OwnNetwork,
}

/// Finds out where the instance listens at a port. Reads the table of processes.
pub(super) fn find(processes: &Processes, port: u16) -> Result<Listening, ProbeFailure> {
    let found = find_by_pid(processes, port);
    let has_ended = processes.has_payload_ended();
    if has_ended.map_err(ProbeFailure::io("look at the instance"))? {
        // The pid may have come to mean another.
        return Err(ProbeFailure::Ended);
    }
    found
}

fn find_by_pid(processes: &Processes, port: u16) -> Result<Listening, ProbeFailure> {
    let first = processes.payload_pid();
    let ours = namespace(own_pid(), "net").ok_or_else(hidden)?;
    let theirs = namespace(first, "net");
    let sockets = listening_at(first, port, theirs == Some(ours));
    let sockets = sockets.map_err(ProbeFailure::io("see what listens"))?;
    if sockets.is_empty() {
        return Err(ProbeFailure::NotListening { port });
    }
    let members = processes.members();
    let members = members.map_err(ProbeFailure::io("see what runs in the instance"))?;
    let members: Vec<Pid> = members.iter().map(|member| member.process.pid).collect();
    if namespace_of(&members, "net").ok_or_else(hidden)? != ours {
        return Ok(Listening::OwnNetwork);
    }
    let inodes = inodes_held(&members, &sockets, port)?;
    let owned = sockets
        .iter()
        .filter(|socket| inodes.contains(&socket.inode));
    let has_ipv4 = sockets.iter().any(|socket| socket.address.is_ipv4());
    let mut addresses: Vec<_> = owned
        .flat_map(|socket| reached_at(socket, has_ipv4))
        .collect();
    addresses.sort_by_key(|address| !address.ip().is_loopback());
    Ok(Listening::Here(addresses))
}

/// What listens at a port in the network of a process.
fn listening_at(pid: Pid, port: u16, is_ours: bool) -> io::Result<Vec<Socket>> {
    if is_ours {
        match sock_diag::listening_at(port) {
            Ok(sockets) => return Ok(sockets),
            // Not every kernel has it, nor does every filter of system calls let it through.
            Err(error) => tracing::debug!(%error, "asking /proc what listens"),
        }
    }
    let mut sockets = sockets_of(pid)?;
    sockets.retain(|socket| socket.is_listening && socket.port == port);
    Ok(sockets)
}

/// Under which addresses a socket can be connected to. One for all addresses of IPv6 is mostly
/// one for those of IPv4 too, which matters where the loopback has no IPv6.
fn reached_at(socket: &Socket, has_ipv4: bool) -> Vec<SocketAddr> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let addresses = match socket.address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => vec![v4],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) if has_ipv4 => vec![v6],
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => vec![v6, v4],
        address => vec![address.to_canonical()],
    };
    let with_port = |address| SocketAddr::new(address, socket.port);
    addresses.into_iter().map(with_port).collect()
}

/// Whether it is another socket that answers where one of these is reached: several may listen at
/// the same address, with `SO_REUSEPORT`, and the kernel picks one.
fn is_rival(socket: &Socket, sockets: &[Socket], ours: &HashSet<u64>) -> bool {
    let has_ipv4 = sockets.iter().any(|socket| socket.address.is_ipv4());
    let address = SocketAddr::new(socket.address.to_canonical(), socket.port);
    let mut owned = sockets.iter().filter(|other| ours.contains(&other.inode));
    !ours.contains(&socket.inode)
        && owned.any(|owned| {
            owned.address == socket.address || reached_at(owned, has_ipv4).contains(&address)
        })
}

/// Which of the sockets are the instance's: at least one, and nobody else's answers in its place.
fn inodes_held(
    members: &[Pid],
    sockets: &[Socket],
    port: u16,
) -> Result<HashSet<u64>, ProbeFailure> {
    let wanted: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
    let mut found = HashSet::new();
    let mut is_hidden = false;
    for member in members {
        match held_by(*member, &wanted) {
            Ok(held) => found.extend(held),
            Err(error) => is_hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    let has_rival = |ours: &HashSet<u64>| {
        let mut sockets_left = sockets.iter();
        sockets_left.any(|socket| is_rival(socket, sockets, ours))
    };
    if !found.is_empty() && !has_rival(&found) {
        return Ok(found);
    }
    let joined = namespace_of(members, "pid");
    let joined = joined.filter(|joined| Some(*joined) != namespace(own_pid(), "pid"));
    let mut others = Vec::new();
    let all = Process::all();
    for process in all.map_err(ProbeFailure::io("see what runs"))? {
        let held = held_by(process.pid, &wanted).unwrap_or_default();
        // What was run in the instance later is not below its first process.
        if joined.is_some() && namespace(process.pid, "pid") == joined {
            found.extend(held);
        } else {
            others.extend(held.into_iter().map(|inode| (inode, process.pid)));
        }
    }
    let another = |pid| Err(ProbeFailure::ListenedToByAnother { port, pid });
    if found.is_empty() {
        return match others.last() {
            None if is_hidden => Err(hidden()),
            other => another(other.map(|(_, pid)| *pid)),
        };
    }
    // One that nobody has open any more answers nothing.
    let mut rivals = sockets
        .iter()
        .filter(|socket| is_rival(socket, sockets, &found));
    let holder = rivals.find_map(|rival| {
        let mut others = others.iter();
        others.find(|(inode, _)| *inode == rival.inode)
    });
    match holder {
        Some((_, pid)) => another(Some(*pid)),
        None => Ok(found),
    }
}

/// Which of these sockets a process has open.
fn held_by(pid: Pid, wanted: &HashSet<u64>) -> io::Result<Vec<u64>> {
    let mut held = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // It may have been closed since.
        let Ok(link) = fs::read_link(entry?.path()) else {
            continue;
        };
        let inode = link.to_str().and_then(|link| {
            let number = link.strip_prefix("socket:[")?.strip_suffix(']')?;
            number.parse().ok()
        });
        held.extend(inode.filter(|inode| wanted.contains(inode)));
    }
    Ok(held)
}

/// That of an instance. Where Apptainer is installed setuid, its first process may not be looked
/// at, but what that has started may.
fn namespace_of(members: &[Pid], kind: &str) -> Option<(u64, u64)> {
    let mut members = members.iter();
    members.find_map(|member| namespace(*member, kind))
}

/// What identifies a namespace of a process; `None` where that may not be seen.
fn namespace(pid: Pid, kind: &str) -> Option<(u64, u64)> {
    let file = fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?;
    Some((file.dev(), file.ino()))
}

fn own_pid() -> Pid {
    Pid::try_from(std::process::id()).expect("pids are small")
}

fn hidden() -> ProbeFailure {
    ProbeFailure::io("see whose the port is")(io::ErrorKind::PermissionDenied.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_is_found_where_it_is_open_and_nowhere_else() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let sockets = sockets_of(own_pid()).unwrap();
        let ours = sockets.iter().find(|socket| socket.port == port).unwrap();
        let wanted = HashSet::from([ours.inode, u64::MAX]);
        assert_eq!(held_by(own_pid(), &wanted).unwrap(), [ours.inode]);
        assert!(
            held_by(own_pid(), &HashSet::from([u64::MAX]))
                .unwrap()
                .is_empty()
        );
        drop(server);
        assert!(held_by(own_pid(), &wanted).unwrap().is_empty());
    }

    #[test]
    fn whoever_listens_at_the_same_address_is_told() {
        let inode = |server: &TcpListener| {
            let port = server.local_addr().unwrap().port();
            let sockets = sockets_of(own_pid()).unwrap();
            let mut sockets = sockets.iter();
            sockets.find(|socket| socket.port == port).unwrap().inode
        };
        let [theirs, ours] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let inodes = [inode(&theirs), inode(&ours)];
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(std::os::fd::OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        let member = Pid::try_from(child.id()).unwrap();
        let held = |addresses: [&str; 2]| {
            let both = addresses.into_iter().zip(inodes);
            let sockets: Vec<_> = both
                .map(|(address, inode)| Socket {
                    address: address.parse().unwrap(),
                    port: 80,
                    is_listening: true,
                    inode,
                })
                .collect();
            inodes_held(&[member], &sockets, 80)
        };
        let of_child = HashSet::from([inodes[0]]);
        assert_eq!(held(["127.0.0.1", "127.0.0.2"]).unwrap(), of_child);
        assert_eq!(held(["127.0.0.1", "0.0.0.0"]).unwrap(), of_child);
        for addresses in [["127.0.0.1", "127.0.0.1"], ["0.0.0.0", "127.0.0.1"]] {
            let error = held(addresses).unwrap_err();
            let ProbeFailure::ListenedToByAnother { port: 80, pid } = error else {
                panic!("{error}");
            };
            assert_eq!(pid, Some(own_pid()));
        }
        drop(ours);
        assert_eq!(held(["127.0.0.1", "127.0.0.1"]).unwrap(), of_child);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn each_socket_is_reached_under_an_address_of_its_own() {
        let socket = |address: &str| Socket {
            address: address.parse().unwrap(),
            port: 80,
            is_listening: true,
            inode: 1,
        };
        for (address, has_ipv4, expected) in [
            ("0.0.0.0", true, &["127.0.0.1:80"][..]),
            ("10.0.0.1", true, &["10.0.0.1:80"]),
            ("127.0.0.2", true, &["127.0.0.2:80"]),
            ("::", false, &["[::1]:80", "127.0.0.1:80"]),
            ("::", true, &["[::1]:80"]),
            ("::1", false, &["[::1]:80"]),
            ("::ffff:127.0.0.1", false, &["127.0.0.1:80"]),
        ] {
            let reached = reached_at(&socket(address), has_ipv4);
            let reached: Vec<String> = reached.iter().map(ToString::to_string).collect();
            assert_eq!(reached, expected, "{address}");
        }
    }
}

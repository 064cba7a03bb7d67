//! The kernel's tables of TCP sockets: `/proc/PID/net/tcp` and `tcp6`.
//!
//! Source: Linux's `Documentation/networking/proc_net_tcp.rst`, and `get_tcp4_sock` and
//! `get_tcp6_sock` in its `net/ipv4` and `net/ipv6`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apptainer_sys::process::Pid;

/// A TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Socket {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) is_listening: bool,
    /// Which is 0 for what no process has any more.
    pub(super) inode: u64,
}

/// The sockets of the network that a process is in.
pub(super) fn sockets_of(pid: Pid) -> io::Result<Vec<Socket>> {
    read(&pid.to_string())
}

/// Whether something other than a listening socket has this port in our network: connections,
/// and what is left of them.
pub(in crate::instance) fn has_connections(port: u16) -> bool {
    let sockets = read("self").unwrap_or_default();
    let mut sockets = sockets.iter();
    sockets.any(|socket| socket.port == port && !socket.is_listening)
}

fn read(process: &str) -> io::Result<Vec<Socket>> {
    let mut sockets = parse(&std::fs::read_to_string(format!(
        "/proc/{process}/net/tcp"
    ))?);
    // A kernel without IPv6 has none.
    match std::fs::read_to_string(format!("/proc/{process}/net/tcp6")) {
        Ok(table) => sockets.extend(parse(&table)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(sockets)
}

/// All lines that are sockets; the first is a heading.
fn parse(table: &str) -> Vec<Socket> {
    table.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Socket> {
    /// `TCP_LISTEN` in `net/tcp_states.h`.
    const LISTEN: &str = "0A";
    // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    Some(Socket {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        is_listening: state == LISTEN,
        inode: inode.parse().ok()?,
    })
}

/// Words of 32 bits, each as this machine reads what lies in memory in the network's order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, into) in bytes.chunks_exact_mut(4).enumerate() {
                into.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_ports_and_states_are_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 417021 1 0000000000000000 100 0 0 10 0
   1: 0200000A:9C40 0100000A:01BB 06 00000000:00000000 03:00000F10 00000000     0        0 0 3 0000000000000000\n";
        assert_eq!(
            parse(table),
            [
                Socket {
                    address: Ipv4Addr::LOCALHOST.into(),
                    port: 8080,
                    is_listening: true,
                    inode: 417_021
                },
                Socket {
                    address: Ipv4Addr::new(10, 0, 0, 2).into(),
                    port: 40000,
                    is_listening: false,
                    inode: 0
                },
            ]
        );
        let line = "   0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0";
        let socket = parse_line(line).unwrap();
        assert_eq!(socket.address, Ipv6Addr::LOCALHOST);
        assert_eq!((socket.port, socket.inode), (22, 77));
        assert_eq!(
            parse_address("B80D0120000000000000000078563412"),
            Some("2001:db8::1234:5678".parse::<IpAddr>().unwrap())
        );
    }

    #[test]
    fn what_is_no_line_of_it_is_passed_over() {
        for line in [
            "",
            "x",
            "0: 0100007F 0 0A",
            "0: 01:1F90 00:0 0A 0:0 0:0 0 0 0 1",
            "0: é100007F:1F90 0:0 0A 0:0 0:0 0 0 0 1",
            "0: 0100007F:1F90 0:0 0A 0:0 0:0 0 0 0 x",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }

    #[test]
    fn the_kernel_writes_what_is_read() {
        let me = Pid::try_from(std::process::id()).unwrap();
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(server) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "{address}");
                continue;
            };
            let address = server.local_addr().unwrap();
            let sockets = sockets_of(me).unwrap();
            let found = sockets
                .iter()
                .find(|found| found.port == address.port())
                .unwrap();
            assert_eq!(found.address, address.ip());
            assert!(found.is_listening);
            let link = std::fs::read_link(format!("/proc/self/fd/{}", server.as_raw_fd()));
            assert_eq!(
                link.unwrap().to_str().unwrap(),
                format!("socket:[{}]", found.inode)
            );
            assert!(!has_connections(address.port()));
        }
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let _accepted = server.accept().unwrap();
        assert!(has_connections(server.local_addr().unwrap().port()));
    }
}

//! Who listens in our own network, asked of the kernel over netlink.
//!
//! The tables in `/proc` cost a walk over all buckets for connections, which takes tens of
//! milliseconds where there is much memory; this looks at sockets that listen only.
//!
//! Source: `sock_diag(7)`, netlink(7), and Linux's `include/uapi/linux/inet_diag.h`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::proc_net::Socket;

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLMSG_DONE`.
const DONE: u16 = 3;
/// `SOCK_DIAG_BY_FAMILY`, of a request and of its answers.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` and `NLM_F_DUMP`.
const REQUEST_ALL: u16 = 0x301;
const TCP: u8 = 6;
/// `TCP_LISTEN` in `net/tcp_states.h`.
const LISTEN: u8 = 10;
/// `AF_INET`.
const INET: u8 = 2;
/// `AF_INET6`.
const INET6: u8 = 10;
/// The size of a `struct nlmsghdr`.
const HEADER: usize = 16;
/// The size of a `struct inet_diag_msg`.
const MESSAGE: usize = 72;

/// The sockets that listen at a port, in the network that we are in.
pub(super) fn listening_at(port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = ask(INET, port)?;
    sockets.extend(ask(INET6, port)?);
    Ok(sockets)
}

fn ask(family: u8, port: u16) -> io::Result<Vec<Socket>> {
    // The kernel answers before the request returns: who would wait is not answered at all.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
    send(&socket, &request(family, port), SendFlags::empty())?;
    let mut sockets = Vec::new();
    // The kernel sends no more than 32 KiB at once.
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        if take_in(&buffer[..length.min(buffer.len())], &mut sockets)? {
            sockets.retain(|socket| socket.port == port);
            return Ok(sockets);
        }
    }
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
fn request(family: u8, port: u16) -> Vec<u8> {
    const LENGTH: u32 = 72;
    let states = 1_u32 << LISTEN;
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(REQUEST_ALL.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.resize(LENGTH as usize, 0);
    bytes
}

/// Takes in what came at once; whether that was all.
fn take_in(mut bytes: &[u8], sockets: &mut Vec<Socket>) -> io::Result<bool> {
    while !bytes.is_empty() {
        let length = number(bytes, 0).ok_or(io::ErrorKind::InvalidData)? as usize;
        let message = bytes
            .get(..length)
            .filter(|message| message.len() >= HEADER);
        let message = message.ok_or(io::ErrorKind::InvalidData)?;
        let body = &message[HEADER..];
        match u16::from_ne_bytes([message[4], message[5]]) {
            DONE => return Ok(true),
            ERROR => {
                let code = number(body, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            BY_FAMILY => sockets.push(parse(body).ok_or(io::ErrorKind::InvalidData)?),
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(false)
}

/// A `struct inet_diag_msg`.
fn parse(body: &[u8]) -> Option<Socket> {
    let body: &[u8; MESSAGE] = body.get(..MESSAGE)?.try_into().ok()?;
    let address = match body[0] {
        INET => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(&body[8..12]).ok()?)),
        INET6 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&body[8..24]).ok()?)),
        _ => return None,
    };
    Some(Socket {
        address,
        port: u16::from_be_bytes([body[4], body[5]]),
        is_listening: body[1] == LISTEN,
        inode: number(body, 68)?.into(),
    })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::super::proc_net::sockets_of;
    use super::*;

    #[test]
    fn what_listens_is_told_as_in_proc() {
        let me = std::process::id().cast_signed();
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(server) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "{address}");
                continue;
            };
            let port = server.local_addr().unwrap().port();
            // Connections at the port are passed over.
            let _client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
            let mut expected = sockets_of(me).unwrap();
            expected.retain(|socket| socket.is_listening && socket.port == port);
            assert_eq!(expected.len(), 1);
            assert_eq!(listening_at(port).unwrap(), expected);
            drop(server);
            assert_eq!(listening_at(port).unwrap(), []);
        }
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        let header = |length: u32, kind: u16| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.resize(HEADER, 0);
            bytes
        };
        let mut sockets = Vec::new();
        assert!(take_in(&header(16, DONE), &mut sockets).unwrap());
        assert!(!take_in(&header(16, 1), &mut sockets).unwrap());
        assert!(!take_in(&[], &mut sockets).unwrap());
        for bytes in [
            vec![1],
            header(0, DONE),
            header(15, DONE),
            header(17, DONE),
            header(u32::MAX, DONE),
            header(16, BY_FAMILY),
        ] {
            let error = take_in(&bytes, &mut sockets).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
        let mut refused = header(20, ERROR);
        refused.extend((-2_i32).to_ne_bytes());
        let error = take_in(&refused, &mut sockets).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(sockets, []);
    }
}

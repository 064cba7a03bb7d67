//! Sockets that carry messages whole, and descriptors with them.
#![expect(
    unsafe_code,
    reason = "received descriptors are numbers until they are owned"
)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, SockFlag,
    SockType, UnixAddr, bind, connect, getsockopt, listen, recvmsg, sendmsg, setsockopt, shutdown,
    socket, socketpair, sockopt,
};

use super::Pid;

/// One end of a connection that carries messages, each whole or not at all, and file
/// descriptors with them (`SOCK_SEQPACKET`, unix(7)).
///
/// Neither sending nor receiving waits: both fail with
/// [`WouldBlock`](io::ErrorKind::WouldBlock) in place of that.
#[derive(Debug)]
pub struct Seqpacket {
    fd: OwnedFd,
}

/// A message that has been received.
#[derive(Debug)]
#[non_exhaustive]
pub struct Packet {
    /// How many bytes it has; 0 when the other end has been closed.
    pub length: usize,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
    /// Who sent it, if the socket [tells](Seqpacket::tell_senders).
    pub sender: Option<Pid>,
}

/// The most descriptors that are received with one message.
const MAX_FDS: usize = 8;

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

impl Seqpacket {
    /// Both ends of a new connection, closed on exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, FLAGS)?;
        Ok((Self { fd: one }, Self { fd: other }))
    }

    /// A connection to who listens at this path.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, FLAGS, None)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { fd })
    }

    /// Sends a message with descriptors, which stay open here.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let parts = [IoSlice::new(message)];
        sendmsg::<()>(self.fd.as_raw_fd(), &parts, control, flags, None)?;
        Ok(())
    }

    /// Receives the next message into `buffer`.
    ///
    /// One that has more bytes, or more than 8 descriptors, is
    /// [`InvalidData`](io::ErrorKind::InvalidData), and gone.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS], libc::ucred);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let received = recvmsg::<()>(self.fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
        let mut packet = Packet {
            length: received.bytes,
            fds: Vec::new(),
            sender: None,
        };
        let cut = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
        let is_cut = received.flags.intersects(cut);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::ScmRights(fds) => {
                    // SAFETY: the kernel has just made them, for us.
                    let owned = fds
                        .into_iter()
                        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                    packet.fds.extend(owned);
                }
                ControlMessageOwned::ScmCredentials(sender) => packet.sender = Some(sender.pid()),
                _ => {}
            }
        }
        if is_cut {
            let reason = "a message is longer than there is room for";
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(packet)
    }

    /// From now on, messages say [who sent](Packet::sender) them.
    pub fn tell_senders(&self) -> io::Result<()> {
        Ok(setsockopt(&self.fd, sockopt::PassCred, &true)?)
    }

    /// The user at the other end: for one that [connected](Self::connect), who listens
    /// there.
    pub fn peer_user(&self) -> io::Result<u32> {
        Ok(getsockopt(&self.fd, sockopt::PeerCredentials)?.uid())
    }

    /// Closes the connection, other descriptors of the same end included.
    pub fn shut_down(&self) -> io::Result<()> {
        Ok(shutdown(self.fd.as_raw_fd(), Shutdown::Both)?)
    }

    /// Another descriptor of the same end.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
        })
    }
}

/// Listens for connections at a path that is not there yet. Nothing accepts them:
/// the descriptor is for another program, which does.
pub fn listen_at(path: &Path) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, FLAGS, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&fd, Backlog::MAXCONN)?;
    Ok(fd)
}

impl AsFd for Seqpacket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Seqpacket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl From<Seqpacket> for OwnedFd {
    fn from(socket: Seqpacket) -> Self {
        socket.fd
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (one, other) = Seqpacket::pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        one.send(b"first", &[writer.as_fd()]).unwrap();
        one.send(b"second", &[]).unwrap();
        drop(writer);
        let mut buffer = [0; 64];
        let packet = other.receive(&mut buffer).unwrap();
        assert_eq!(&buffer[..packet.length], b"first");
        let [fd] = <[OwnedFd; 1]>::try_from(packet.fds).unwrap();
        std::fs::File::from(fd).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        let packet = other.receive(&mut buffer).unwrap();
        assert_eq!(&buffer[..packet.length], b"second");
    }

    #[test]
    fn nothing_waits() {
        let (one, other) = Seqpacket::pair().unwrap();
        let mut buffer = [0; 8];
        let nothing = one.receive(&mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(other);
        assert_eq!(one.receive(&mut buffer).unwrap().length, 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_an_error() {
        let (one, other) = Seqpacket::pair().unwrap();
        one.send(b"too long", &[]).unwrap();
        let error = other.receive(&mut [0; 3]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn who_sent_a_message_is_told_when_asked_for() {
        let (one, other) = Seqpacket::pair().unwrap();
        other.tell_senders().unwrap();
        one.send(b"x", &[]).unwrap();
        let packet = other.receive(&mut [0; 8]).unwrap();
        assert_eq!(packet.sender, Some(nix::unistd::getpid().as_raw()));
    }

    #[test]
    fn a_listener_is_found_by_its_path_and_a_stale_path_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = listen_at(&path).unwrap();
        let caller = Seqpacket::connect(&path).unwrap();
        assert_eq!(caller.peer_user().unwrap(), nix::unistd::geteuid().as_raw());
        drop(listener);
        let error = Seqpacket::connect(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

//! Messages on a socket, with descriptors.

use core::ptr::null_mut;

use crate::protocol::{Reply, Sink};
use crate::sys::{self, Errno, Fd, Result};

/// The most descriptors that a message may bring: one to talk over, three streams, a side
/// channel, and a memory file.
const MAX_FDS: usize = 6;

/// How many there is room for: more than that, so that excess is seen, and as many as leave no
/// padding behind them, which the kernel would fill.
const ROOM: usize = (MAX_FDS + 1).next_multiple_of(2);

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const MSG_CTRUNC: i32 = 0x8;
const MSG_TRUNC: i32 = 0x20;
const MSG_PEEK: usize = 0x2;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CMSG_CLOEXEC: usize = 0x4000_0000;

/// `struct msghdr`.
#[repr(C)]
struct Header {
    name: *mut u8,
    name_length: u32,
    parts: *mut Part,
    part_count: usize,
    control: *mut Control,
    control_length: usize,
    flags: i32,
}

/// `struct iovec`.
#[repr(C)]
struct Part {
    at: *mut u8,
    length: usize,
}

/// `struct cmsghdr`, with room for descriptors.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fds: [i32; ROOM],
}

impl Header {
    /// Of one part, and of so many bytes of control messages.
    fn new(part: &mut Part, control: *mut Control, control_length: usize) -> Self {
        Self {
            name: null_mut(),
            name_length: 0,
            parts: part,
            part_count: 1,
            control,
            control_length,
            flags: 0,
        }
    }
}

impl Part {
    fn new(bytes: &mut [u8]) -> Self {
        Self {
            at: bytes.as_mut_ptr(),
            length: bytes.len(),
        }
    }
}

impl Control {
    const HEADER: usize = size_of::<usize>() + 2 * size_of::<i32>();

    fn new() -> Self {
        Self {
            length: 0,
            level: 0,
            kind: 0,
            fds: [-1; ROOM],
        }
    }
}

/// What came with a message.
pub(crate) struct Message {
    pub(crate) length: usize,
    /// In the order in which they were sent.
    pub(crate) fds: [Option<Fd>; MAX_FDS],
    /// Whether bytes are missing.
    pub(crate) is_cut: bool,
    /// Whether there was no room for all of its descriptors.
    pub(crate) lacks_fds: bool,
}

impl Message {
    /// The next descriptor that has not been taken.
    pub(crate) fn take_fd(&mut self) -> Option<Fd> {
        self.fds.iter_mut().find_map(Option::take)
    }
}

/// The beginning of the next message, which stays; 0 at the end.
pub(crate) fn peek(socket: &Fd, buffer: &mut [u8]) -> Result<usize> {
    let mut part = Part::new(buffer);
    let mut header = Header::new(&mut part, null_mut(), 0);
    let flags = MSG_PEEK | MSG_DONTWAIT;
    // SAFETY: the header points to a buffer of the length that it says.
    unsafe { sys::receive_message(socket, (&raw mut header).cast(), flags) }
}

/// Takes the next message; none of length 0 ever comes but at the end.
pub(crate) fn receive(socket: &Fd, buffer: &mut [u8]) -> Result<Message> {
    receive_with(socket, buffer, MSG_DONTWAIT)
}

/// The same, once there is one.
pub(crate) fn wait_for(socket: &Fd, buffer: &mut [u8]) -> Result<Message> {
    receive_with(socket, buffer, 0)
}

fn receive_with(socket: &Fd, buffer: &mut [u8], flags: usize) -> Result<Message> {
    let mut control = Control::new();
    let mut part = Part::new(buffer);
    let mut header = Header::new(&mut part, &raw mut control, size_of::<Control>());
    let flags = flags | MSG_CMSG_CLOEXEC;
    // SAFETY: the header points to a buffer, and to room for control messages, of the
    // lengths that it says.
    let length = unsafe { sys::receive_message(socket, (&raw mut header).cast(), flags) }?;
    let mut fds = [const { None }; MAX_FDS];
    let is_rights = header.control_length > Control::HEADER
        && control.level == SOL_SOCKET
        && control.kind == SCM_RIGHTS;
    let mut excess = false;
    if is_rights {
        let count = control.length.saturating_sub(Control::HEADER) / size_of::<i32>();
        for (index, number) in control.fds.iter().take(count).enumerate() {
            // SAFETY: the kernel has just made it, for us.
            let fd = unsafe { Fd::own(*number) };
            match fds.get_mut(index) {
                Some(place) => *place = Some(fd),
                // Dropped, and so closed.
                None => excess = true,
            }
        }
    }
    Ok(Message {
        length,
        fds,
        is_cut: header.flags & MSG_TRUNC != 0 || excess,
        lacks_fds: header.flags & MSG_CTRUNC != 0,
    })
}

/// Sends a reply, with a descriptor if there is one.
pub(crate) fn send(socket: &Fd, reply: Reply, fd: Option<&Fd>) -> Result<()> {
    let mut bytes = Written::new();
    reply.encode(&mut bytes);
    let length = bytes.length;
    send_with(socket, &mut bytes.buffer[..length], fd, MSG_DONTWAIT)
}

/// Sends these bytes, with a descriptor if there is one, once there is room for them.
pub(crate) fn deliver(socket: &Fd, bytes: &mut [u8], fd: Option<&Fd>) -> Result<()> {
    send_with(socket, bytes, fd, 0)
}

fn send_with(socket: &Fd, bytes: &mut [u8], fd: Option<&Fd>, flags: usize) -> Result<()> {
    let mut control = Control::new();
    if let Some(fd) = fd {
        control.length = Control::HEADER + size_of::<i32>();
        control.level = SOL_SOCKET;
        control.kind = SCM_RIGHTS;
        control.fds[0] = fd.number();
    }
    let length = bytes.len();
    let mut part = Part::new(bytes);
    // Rounded up, as the kernel wants it.
    let control_length = control.length.next_multiple_of(size_of::<usize>());
    let header = Header::new(&mut part, &raw mut control, control_length);
    let flags = flags | MSG_NOSIGNAL;
    // SAFETY: the header points to bytes and to a control message of the lengths that it
    // says.
    let sent = unsafe { sys::send_message(socket, (&raw const header).cast(), flags) }?;
    if sent == length {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

/// A reply as it is written.
pub(crate) struct Written {
    buffer: [u8; Reply::MAX],
    length: usize,
}

impl Written {
    pub(crate) fn new() -> Self {
        Self {
            buffer: [0; Reply::MAX],
            length: 0,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Sink for Written {
    fn put(&mut self, bytes: &[u8]) {
        // No reply is longer.
        if let Some(room) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

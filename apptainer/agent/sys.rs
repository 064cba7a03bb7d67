//! System calls as functions: the few that the agent needs.

use core::ffi::CStr;
use core::ptr;

use crate::syscall::{number, syscall};

mod file;
mod process;

pub(crate) use file::*;
pub(crate) use process::*;

/// A descriptor that is closed when it is dropped.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fd(i32);

/// An error's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = core::result::Result<T, Errno>;

impl Errno {
    pub(crate) const PERM: Self = Self(1);
    pub(crate) const NOENT: Self = Self(2);
    pub(crate) const SRCH: Self = Self(3);
    pub(crate) const INTR: Self = Self(4);
    pub(crate) const TOO_BIG: Self = Self(7);
    pub(crate) const NOEXEC: Self = Self(8);
    pub(crate) const BADF: Self = Self(9);
    pub(crate) const AGAIN: Self = Self(11);
    pub(crate) const NOMEM: Self = Self(12);
    pub(crate) const ACCES: Self = Self(13);
    pub(crate) const BUSY: Self = Self(16);
    pub(crate) const EXIST: Self = Self(17);
    pub(crate) const NOTDIR: Self = Self(20);
    pub(crate) const ISDIR: Self = Self(21);
    pub(crate) const INVAL: Self = Self(22);
    pub(crate) const MFILE: Self = Self(24);
    pub(crate) const PIPE: Self = Self(32);
    pub(crate) const NAMETOOLONG: Self = Self(36);
    pub(crate) const NOSYS: Self = Self(38);
    pub(crate) const NOTEMPTY: Self = Self(39);
    pub(crate) const LOOP: Self = Self(40);
    pub(crate) const CONNRESET: Self = Self(104);
}

impl Fd {
    /// Takes one over.
    ///
    /// # Safety
    ///
    /// It is open and nobody else's.
    pub(crate) unsafe fn own(number: i32) -> Self {
        Self(number)
    }

    pub(crate) fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: it is ours, and not used again.
        unsafe { syscall(number::CLOSE, [self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}

fn checked(result: isize) -> Result<usize> {
    if result < 0 {
        Err(Errno(-result as i32))
    } else {
        Ok(result as usize)
    }
}

/// A call of numbers, and of pointers that are good for what it does with them.
///
/// # Safety
///
/// As the call has it.
unsafe fn call(number: usize, arguments: &[usize]) -> Result<usize> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    // SAFETY: the caller vouches.
    checked(unsafe { syscall(number, all) })
}

/// A call that makes a descriptor.
///
/// # Safety
///
/// As the call has it, which must return a new descriptor.
unsafe fn opened(number: usize, arguments: &[usize]) -> Result<Fd> {
    // SAFETY: the caller vouches, and the descriptor is new.
    unsafe { call(number, arguments).map(|fd| Fd::own(fd as i32)) }
}

pub(crate) fn read(fd: &Fd, buffer: &mut [u8]) -> Result<usize> {
    let (at, length) = (buffer.as_mut_ptr() as usize, buffer.len());
    // SAFETY: the buffer is writable and has that length.
    unsafe { call(number::READ, &[fd.0 as usize, at, length]) }
}

pub(crate) fn write(fd: &Fd, bytes: &[u8]) -> Result<usize> {
    let (at, length) = (bytes.as_ptr() as usize, bytes.len());
    // SAFETY: the buffer is readable and has that length.
    unsafe { call(number::WRITE, &[fd.0 as usize, at, length]) }
}

pub(crate) const O_RDONLY: usize = 0;
pub(crate) const O_RDWR: usize = 2;
pub(crate) const O_NOCTTY: usize = 0o400;
pub(crate) const O_NONBLOCK: usize = 0o4000;
pub(crate) const O_CLOEXEC: usize = 0o2_000_000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_DIRECTORY: usize = 0o200_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_DIRECTORY: usize = 0o40_000;

const AT_FDCWD: usize = -100_isize as usize;

pub(crate) fn open(path: &CStr, flags: usize) -> Result<Fd> {
    let path = path.as_ptr() as usize;
    // SAFETY: the path ends in a NUL.
    unsafe { opened(number::OPENAT, &[AT_FDCWD, path, flags | O_CLOEXEC, 0]) }
}

/// Opens what has this path below a directory.
pub(crate) fn open_at(directory: &Fd, path: &CStr, flags: usize) -> Result<Fd> {
    let path = path.as_ptr() as usize;
    let arguments = [directory.0 as usize, path, flags | O_CLOEXEC, 0];
    // SAFETY: the path ends in a NUL.
    unsafe { opened(number::OPENAT, &arguments) }
}

pub(crate) fn rewind(fd: &Fd) -> Result<()> {
    // SAFETY: it takes numbers.
    unsafe { call(number::LSEEK, &[fd.0 as usize, 0, 0]) }.map(drop)
}

/// How long a file is.
pub(crate) fn length(fd: &Fd) -> Result<usize> {
    const SEEK_END: usize = 2;
    // SAFETY: it takes numbers.
    unsafe { call(number::LSEEK, &[fd.0 as usize, 0, SEEK_END]) }
}

/// Fills `buffer` with entries of a directory; 0 at the end.
pub(crate) fn entries(directory: &Fd, buffer: &mut [u8]) -> Result<usize> {
    let (at, length) = (buffer.as_mut_ptr() as usize, buffer.len());
    // SAFETY: the buffer is writable and has that length.
    unsafe { call(number::GETDENTS64, &[directory.0 as usize, at, length]) }
}

pub(crate) fn duplicate_to(from: i32, to: i32) -> Result<()> {
    // SAFETY: it takes numbers.
    unsafe { call(number::DUP3, &[from as usize, to as usize, 0]) }.map(drop)
}

/// Closes all descriptors with these numbers.
///
/// They are nobody's that still uses them.
pub(crate) fn close_all(first: i32, last: i32) {
    // SAFETY: it takes numbers.
    let closed = unsafe { call(number::CLOSE_RANGE, &[first as usize, last as usize, 0]) };
    if closed.is_err() {
        // Linux before 5.9. Those that are beyond this are closed on exec.
        for fd in first..=last.min(1023) {
            // SAFETY: as above.
            let _ = unsafe { call(number::CLOSE, &[fd as usize]) };
        }
    }
}

pub(crate) const F_SETFD: usize = 2;
pub(crate) const F_SETFL: usize = 4;
pub(crate) const F_DUPFD_CLOEXEC: usize = 1030;
pub(crate) const F_SETPIPE_SZ: usize = 1031;
pub(crate) const F_GETPIPE_SZ: usize = 1032;
pub(crate) const F_GET_SEALS: usize = 1034;

pub(crate) fn fcntl(fd: &Fd, command: usize, argument: usize) -> Result<usize> {
    // SAFETY: the commands that are used here take numbers.
    unsafe { call(number::FCNTL, &[fd.0 as usize, command, argument]) }
}

/// Another descriptor of the same, numbered 3 or higher.
pub(crate) fn duplicate(fd: &Fd) -> Result<Fd> {
    let number = fcntl(fd, F_DUPFD_CLOEXEC, 3)?;
    // SAFETY: the kernel has just made it, for us.
    Ok(unsafe { Fd::own(number as i32) })
}

/// Another descriptor of the same, with a higher number, which is closed on exec.
pub(crate) fn duplicate_above(fd: i32) -> Result<i32> {
    let arguments = [fd as usize, F_DUPFD_CLOEXEC, fd as usize + 1];
    // SAFETY: the command takes a number.
    Ok(unsafe { call(number::FCNTL, &arguments) }? as i32)
}

/// Has a descriptor stay when another program is run.
pub(crate) fn keep_on_exec(fd: i32) -> Result<()> {
    // SAFETY: the command takes a number.
    unsafe { call(number::FCNTL, &[fd as usize, F_SETFD, 0]) }.map(drop)
}

/// A pipe, both ends closed on exec: the reading end, then the writing end.
pub(crate) fn pipe() -> Result<(Fd, Fd)> {
    let mut ends = [-1_i32; 2];
    // SAFETY: the array has room for two descriptors, which are new.
    unsafe {
        call(number::PIPE2, &[ends.as_mut_ptr() as usize, O_CLOEXEC])?;
        Ok((Fd::own(ends[0]), Fd::own(ends[1])))
    }
}

/// How many bytes can be read from a pipe.
pub(crate) fn available(fd: &Fd) -> Result<u32> {
    const FIONREAD: usize = 0x541b;
    let mut bytes = 0_i32;
    // SAFETY: it writes a number.
    unsafe { ioctl(fd.0, FIONREAD, &raw mut bytes as usize) }?;
    Ok(bytes.unsigned_abs())
}

/// Moves bytes from a pipe to another descriptor, without waiting.
pub(crate) fn splice(from: &Fd, to: &Fd, length: usize) -> Result<usize> {
    const SPLICE_F_MOVE: usize = 1;
    const SPLICE_F_NONBLOCK: usize = 2;
    let flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;
    let arguments = [from.0 as usize, 0, to.0 as usize, 0, length, flags];
    // SAFETY: no offsets are given.
    unsafe { call(number::SPLICE, &arguments) }
}

/// An event, and what it was registered with.
#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy)]
pub(crate) struct Event {
    pub(crate) events: u32,
    pub(crate) data: u64,
}

pub(crate) const EPOLLIN: u32 = 1;
pub(crate) const EPOLLOUT: u32 = 4;
pub(crate) const EPOLLERR: u32 = 8;
pub(crate) const EPOLLHUP: u32 = 16;
/// Tells once of what has changed.
pub(crate) const EPOLLET: u32 = 1 << 31;

pub(crate) fn epoll_create() -> Result<Fd> {
    // SAFETY: it takes numbers.
    unsafe { opened(number::EPOLL_CREATE1, &[O_CLOEXEC]) }
}

#[derive(Clone, Copy)]
pub(crate) enum Interest {
    Add = 1,
    Delete = 2,
    Change = 3,
}

pub(crate) fn epoll_watch(
    epoll: &Fd,
    how: Interest,
    fd: &Fd,
    events: u32,
    data: u64,
) -> Result<()> {
    let event = Event { events, data };
    let event = &raw const event as usize;
    let arguments = [epoll.0 as usize, how as usize, fd.0 as usize, event];
    // SAFETY: the event is there until the call returns.
    unsafe { call(number::EPOLL_CTL, &arguments) }.map(drop)
}

/// Waits for events, at most so many milliseconds; without end for -1.
pub(crate) fn epoll_wait(epoll: &Fd, events: &mut [Event], timeout: i32) -> Result<usize> {
    let (at, length) = (events.as_mut_ptr() as usize, events.len());
    // SAFETY: the array is writable and has that length.
    unsafe {
        call(
            number::EPOLL_PWAIT,
            &[epoll.0 as usize, at, length, timeout as usize, 0, 8],
        )
    }
}

/// Milliseconds of a clock that only goes forward.
pub(crate) fn now() -> u64 {
    const CLOCK_MONOTONIC: usize = 1;
    let mut time = [0_i64; 2];
    // SAFETY: the array is a timespec.
    let _ = unsafe {
        call(
            number::CLOCK_GETTIME,
            &[CLOCK_MONOTONIC, &raw mut time as usize],
        )
    };
    time[0] as u64 * 1000 + time[1] as u64 / 1_000_000
}

/// An ioctl with a number, or a pointer that is good for it.
///
/// # Safety
///
/// As the request has it.
pub(crate) unsafe fn ioctl(fd: i32, request: usize, argument: usize) -> Result<usize> {
    // SAFETY: the caller vouches.
    unsafe { call(number::IOCTL, &[fd as usize, request, argument]) }
}

/// Accepts a connection. What it carries does not block.
pub(crate) fn accept(listener: &Fd) -> Result<Fd> {
    let flags = O_CLOEXEC | O_NONBLOCK;
    // SAFETY: no address is asked for.
    unsafe { opened(number::ACCEPT4, &[listener.0 as usize, 0, 0, flags]) }
}

/// The user at the other end of a socket.
pub(crate) fn peer_user(socket: &Fd) -> Result<u32> {
    const SOL_SOCKET: usize = 1;
    const SO_PEERCRED: usize = 17;
    let mut credentials = [0_u32; 3];
    let mut length = 12_u32;
    let arguments = [
        socket.0 as usize,
        SOL_SOCKET,
        SO_PEERCRED,
        &raw mut credentials as usize,
        &raw mut length as usize,
    ];
    // SAFETY: the array is a ucred, and the length is its.
    unsafe { call(number::GETSOCKOPT, &arguments) }?;
    Ok(credentials[1])
}

/// # Safety
///
/// The header and all that it points to are as the call has it.
pub(crate) unsafe fn send_message(socket: &Fd, header: *const u8, flags: usize) -> Result<usize> {
    // SAFETY: the caller vouches.
    unsafe {
        call(
            number::SENDMSG,
            &[socket.0 as usize, header as usize, flags],
        )
    }
}

/// # Safety
///
/// The header and all that it points to are as the call has it.
pub(crate) unsafe fn receive_message(socket: &Fd, header: *mut u8, flags: usize) -> Result<usize> {
    // SAFETY: the caller vouches.
    unsafe {
        call(
            number::RECVMSG,
            &[socket.0 as usize, header as usize, flags],
        )
    }
}

/// Memory of the kernel's, all zeroes, or a file's for reading.
pub(crate) fn map(length: usize, file: Option<&Fd>) -> Result<*mut u8> {
    const PROT_READ: usize = 1;
    const PROT_WRITE: usize = 2;
    const MAP_PRIVATE: usize = 2;
    const MAP_ANONYMOUS: usize = 0x20;
    const MAP_NORESERVE: usize = 0x4000;
    let arguments = match file {
        Some(file) => [0, length, PROT_READ, MAP_PRIVATE, file.0 as usize, 0],
        None => [
            0,
            length,
            PROT_READ | PROT_WRITE,
            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
            -1_isize as usize,
            0,
        ],
    };
    // SAFETY: it asks for memory at an address of the kernel's choice.
    let address = unsafe { call(number::MMAP, &arguments) }?;
    Ok(ptr::with_exposed_provenance_mut(address))
}

/// Makes a mapping longer, wherever that is then.
///
/// # Safety
///
/// It is a mapping of that length, which nothing refers to.
pub(crate) unsafe fn remap(at: *mut u8, length: usize, new: usize) -> Result<*mut u8> {
    const MREMAP_MAYMOVE: usize = 1;
    let arguments = [at as usize, length, new, MREMAP_MAYMOVE];
    // SAFETY: the caller vouches.
    let address = unsafe { call(number::MREMAP, &arguments) }?;
    Ok(ptr::with_exposed_provenance_mut(address))
}

/// Gives a mapping back.
///
/// # Safety
///
/// It is a mapping of that length, which nothing refers to.
pub(crate) unsafe fn unmap(at: *mut u8, length: usize) {
    // SAFETY: the caller vouches.
    let _ = unsafe { call(number::MUNMAP, &[at as usize, length]) };
}

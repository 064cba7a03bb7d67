//! Of files, by their names.

use core::ffi::CStr;

use super::{AT_FDCWD, Errno, Fd, Result, call};
use crate::syscall::number;

pub(crate) const O_WRONLY: usize = 1;
pub(crate) const O_CREAT: usize = 0o100;
pub(crate) const O_EXCL: usize = 0o200;
pub(crate) const O_TRUNC: usize = 0o1000;
#[cfg(target_arch = "x86_64")]
pub(crate) const O_NOFOLLOW: usize = 0o400_000;
#[cfg(target_arch = "aarch64")]
pub(crate) const O_NOFOLLOW: usize = 0o100_000;

const AT_SYMLINK_NOFOLLOW: usize = 0x100;
const AT_REMOVEDIR: usize = 0x200;

/// Where a name is looked for.
#[derive(Clone, Copy)]
pub(crate) enum At<'f> {
    /// In the working directory, unless it begins with a slash.
    Here,
    /// In this directory.
    Below(&'f Fd),
}

impl At<'_> {
    fn number(self) -> usize {
        match self {
            Self::Here => AT_FDCWD,
            Self::Below(directory) => directory.number() as usize,
        }
    }
}

/// Opens what has this path, or makes it with this mode.
pub(crate) fn open_with(path: &CStr, flags: usize, mode: u32) -> Result<Fd> {
    let path = path.as_ptr() as usize;
    let arguments = [AT_FDCWD, path, flags | super::O_CLOEXEC, mode as usize];
    // SAFETY: the path ends in a NUL.
    unsafe { super::opened(number::OPENAT, &arguments) }
}

/// `struct statx`, as far as it is looked at.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Statx {
    _mask: u32,
    _block: u32,
    _attributes: u64,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    _padding: u16,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    _blocks: u64,
    _attributes_mask: u64,
    _times: [u64; 6],
    pub(crate) modified: i64,
    pub(crate) modified_nanoseconds: u32,
    _padding_too: u32,
    _device_of_special: [u32; 2],
    pub(crate) device: [u32; 2],
    _rest: [u64; 14],
}

/// What has this path is; of a link itself, where that is not followed.
pub(crate) fn status(path: &CStr, follows: bool) -> Result<Statx> {
    statx(
        AT_FDCWD,
        path,
        if follows { 0 } else { AT_SYMLINK_NOFOLLOW },
    )
}

/// What has this name in a directory is, links not followed.
pub(crate) fn status_at(directory: &Fd, name: &CStr) -> Result<Statx> {
    statx(directory.number() as usize, name, AT_SYMLINK_NOFOLLOW)
}

/// What is open.
pub(crate) fn status_of(fd: &Fd) -> Result<Statx> {
    const AT_EMPTY_PATH: usize = 0x1000;
    statx(fd.number() as usize, c"", AT_EMPTY_PATH)
}

fn statx(at: usize, path: &CStr, flags: usize) -> Result<Statx> {
    const STATX_BASIC_STATS: usize = 0x7ff;
    let mut status = Statx::default();
    let arguments = [
        at,
        path.as_ptr() as usize,
        flags,
        STATX_BASIC_STATS,
        &raw mut status as usize,
    ];
    // SAFETY: the path ends in a NUL, and there is room for what the kernel writes.
    unsafe { call(number::STATX, &arguments) }?;
    Ok(status)
}

/// Where a link leads.
pub(crate) fn read_link<'b>(path: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    let (at, length) = (buffer.as_mut_ptr() as usize, buffer.len());
    let arguments = [AT_FDCWD, path.as_ptr() as usize, at, length];
    // SAFETY: the path ends in a NUL, and the buffer is writable and has that length.
    let length = unsafe { call(number::READLINKAT, &arguments) }?;
    Ok(&buffer[..length])
}

pub(crate) fn make_directory(path: &CStr, mode: u32) -> Result<()> {
    let arguments = [AT_FDCWD, path.as_ptr() as usize, mode as usize];
    // SAFETY: the path ends in a NUL.
    unsafe { call(number::MKDIRAT, &arguments) }.map(drop)
}

pub(crate) fn make_link(target: &CStr, path: &CStr) -> Result<()> {
    let arguments = [target.as_ptr() as usize, AT_FDCWD, path.as_ptr() as usize];
    // SAFETY: both end in a NUL.
    unsafe { call(number::SYMLINKAT, &arguments) }.map(drop)
}

/// Removes what is no directory.
pub(crate) fn remove_file(at: At<'_>, path: &CStr) -> Result<()> {
    // SAFETY: the path ends in a NUL.
    unsafe { call(number::UNLINKAT, &[at.number(), path.as_ptr() as usize, 0]) }.map(drop)
}

/// Removes an empty directory.
pub(crate) fn remove_directory(at: At<'_>, path: &CStr) -> Result<()> {
    let arguments = [at.number(), path.as_ptr() as usize, AT_REMOVEDIR];
    // SAFETY: the path ends in a NUL.
    unsafe { call(number::UNLINKAT, &arguments) }.map(drop)
}

/// Gives a file another name; where it is not to replace anything, not every file system knows
/// how.
pub(crate) fn rename(from: &CStr, to: &CStr, replaces: bool) -> Result<()> {
    const RENAME_NOREPLACE: usize = 1;
    let arguments = [
        AT_FDCWD,
        from.as_ptr() as usize,
        AT_FDCWD,
        to.as_ptr() as usize,
        if replaces { 0 } else { RENAME_NOREPLACE },
    ];
    // SAFETY: both end in a NUL.
    unsafe { call(number::RENAMEAT2, &arguments) }.map(drop)
}

/// Sets permissions; a link is followed.
pub(crate) fn set_mode(at: At<'_>, path: &CStr, mode: u32) -> Result<()> {
    let arguments = [at.number(), path.as_ptr() as usize, mode as usize];
    // SAFETY: the path ends in a NUL.
    unsafe { call(number::FCHMODAT, &arguments) }.map(drop)
}

pub(crate) fn set_mode_of(fd: &Fd, mode: u32) -> Result<()> {
    // SAFETY: it takes numbers.
    unsafe { call(number::FCHMOD, &[fd.number() as usize, mode as usize]) }.map(drop)
}

/// Sets when it was changed.
pub(crate) fn set_modified(path: &CStr, time: (i64, u32), follows: bool) -> Result<()> {
    const UTIME_OMIT: i64 = (1 << 30) - 2;
    let times = [0, UTIME_OMIT, time.0, i64::from(time.1)];
    let flags = if follows { 0 } else { AT_SYMLINK_NOFOLLOW };
    let times = &raw const times as usize;
    let arguments = [AT_FDCWD, path.as_ptr() as usize, times, flags];
    // SAFETY: the path ends in a NUL, and the array is two timespecs.
    unsafe { call(number::UTIMENSAT, &arguments) }.map(drop)
}

/// Waits until it is on disk.
pub(crate) fn sync(fd: &Fd) -> Result<()> {
    // SAFETY: it takes a number.
    unsafe { call(number::FSYNC, &[fd.number() as usize]) }.map(drop)
}

impl Errno {
    /// Whether a file system does not know how.
    pub(crate) fn is_unknown(self) -> bool {
        matches!(self, Self::INVAL | Self::NOSYS)
    }
}

//! Pseudo-terminals.
#![expect(unsafe_code, reason = "terminals are configured by ioctl")]

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use super::Pid;

/// How many characters a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

impl Default for WindowSize {
    /// 24 lines of 80 characters.
    fn default() -> Self {
        Self {
            rows: 24,
            columns: 80,
        }
    }
}

/// A pseudo-terminal, held by the end that a terminal emulator has.
///
/// What is written to its descriptor arrives as if typed; what programs at the
/// terminal print is read from it. Reading fails with `EIO` once they have all
/// closed it. Closing it hangs the terminal up: its session's leader and
/// foreground processes get `SIGHUP`.
#[derive(Debug)]
pub struct Pty {
    controller: PtyMaster,
}

impl Pty {
    /// Opens one of this size.
    pub fn open(size: WindowSize) -> io::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let controller = posix_openpt(flags)?;
        grantpt(&controller)?;
        unlockpt(&controller)?;
        let pty = Self { controller };
        pty.resize(size)?;
        Ok(pty)
    }

    /// Takes over a descriptor of that end, which another process has opened. Reading and
    /// writing no longer wait.
    pub fn from_controller(fd: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
        fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // SAFETY: the descriptor is owned; what is no terminal fails when it is used.
        let controller = unsafe { PtyMaster::from_owned_fd(fd) };
        let pty = Self { controller };
        pty.size()?;
        Ok(pty)
    }

    /// The terminal itself, for programs to run at; it becomes nobody's controlling
    /// terminal by this.
    ///
    /// As long as the caller keeps it, reading from the other end does not come to
    /// an end.
    pub fn terminal(&self) -> io::Result<OwnedFd> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        // By number, for the path may mean another in another mount namespace.
        // SAFETY: the descriptor is a pseudo-terminal's, and the flags are open's.
        let fd = unsafe { libc::ioctl(self.controller.as_raw_fd(), libc::TIOCGPTPEER, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Where the terminal is: `/dev/pts/3`.
    pub fn path(&self) -> io::Result<PathBuf> {
        Ok(ptsname_r(&self.controller)?.into())
    }

    /// Its size.
    pub fn size(&self) -> io::Result<WindowSize> {
        let mut size = libc::winsize {
            ws_row: 0,
            ws_col: 0,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is a terminal's, and `size` what the call fills.
        let result =
            unsafe { libc::ioctl(self.controller.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
        })
    }

    /// Changes its size; programs in its foreground get `SIGWINCH`.
    pub fn resize(&self, size: WindowSize) -> io::Result<()> {
        let size = libc::winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: the descriptor is a terminal's, and `size` what the call reads.
        let result = unsafe {
            libc::ioctl(
                self.controller.as_raw_fd(),
                libc::TIOCSWINSZ,
                &raw const size,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// The process group in its foreground, which Ctrl-C reaches; `None` when the
    /// terminal has no session.
    pub fn foreground_group(&self) -> io::Result<Option<Pid>> {
        match nix::unistd::tcgetpgrp(&self.controller) {
            Ok(group) if group.as_raw() > 0 => Ok(Some(group.as_raw())),
            Ok(_) | Err(nix::Error::ENOTTY) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for &Pty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.controller, buffer)?)
    }
}

impl Write for &Pty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(&self.controller, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.controller.as_fd()
    }
}

impl AsRawFd for Pty {
    fn as_raw_fd(&self) -> RawFd {
        self.controller.as_raw_fd()
    }
}

impl From<Pty> for OwnedFd {
    fn from(pty: Pty) -> Self {
        pty.controller.into()
    }
}

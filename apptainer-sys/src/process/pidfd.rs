//! Processes by descriptor: a pid may be given to another process once its own
//! has gone, a pidfd never is.
#![expect(
    unsafe_code,
    reason = "libc wraps neither pidfd_open nor pidfd_send_signal"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use super::{Exit, Pid, Signal};
use crate::deadline::Deadline;

/// A process, held so that its pid cannot come to mean another.
///
/// The descriptor becomes readable when the process has ended. Needs Linux 5.3, and to wait for a child by it 5.4.
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Holds the process with this pid.
    ///
    /// `ESRCH` (as [`io::Error::raw_os_error`]) means that there is none.
    pub fn open(pid: Pid) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and reads no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd })
    }

    /// Takes over a descriptor that `clone3` made.
    pub(super) fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sends a signal. That the process has ended already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null siginfo stands for what kill(2) sends.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.fd.as_raw_fd(),
                signal.number(),
                no_info,
                0,
            )
        };
        if sent == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// Whether the process has ended.
    pub fn has_ended(&self) -> io::Result<bool> {
        self.wait_ended(Some(Duration::ZERO))
    }

    /// Waits until the process has ended, at most for `limit`; says whether it has.
    pub fn wait_ended(&self, limit: Option<Duration>) -> io::Result<bool> {
        let deadline = Deadline::after_if(limit);
        loop {
            let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, deadline.poll_timeout()) {
                // The longest that poll waits may be less.
                Ok(0) if !deadline.has_passed() => {}
                Ok(ready) => return Ok(ready > 0),
                Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How the process ended, whoever's child it was, once its parent has waited for it. `None`
    /// before that, and where the kernel does not tell: it does from Linux 6.15 on, if the
    /// descriptor was opened before the end.
    pub fn exit(&self) -> io::Result<Option<Exit>> {
        /// Source: linux/pidfd.h, `struct pidfd_info`, as far as its first version goes.
        #[repr(C)]
        #[derive(Default)]
        struct Info {
            mask: u64,
            cgroup: u64,
            ids: [u32; 11],
            exit_code: i32,
        }
        /// `PIDFD_GET_INFO`, which is `_IOWR(0xFF, 11, struct pidfd_info)`.
        const GET_INFO: libc::Ioctl = 0xC040_FF0B_u32 as libc::Ioctl;
        /// `PIDFD_INFO_EXIT`.
        const EXIT: u64 = 1 << 3;
        let mut info = Info {
            mask: EXIT,
            ..Info::default()
        };
        // SAFETY: the descriptor is open, and the memory is as long as the request says.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), GET_INFO, &raw mut info) };
        if result == 0 {
            let is_known = info.mask & EXIT != 0;
            return Ok(is_known.then(|| Exit::from_wait_status(info.exit_code)));
        }
        match io::Error::last_os_error() {
            // Linux before 6.13, and before 6.15 of one that has been waited for.
            error
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ENOTTY | libc::ESRCH | libc::EINVAL)
                ) =>
            {
                Ok(None)
            }
            error => Err(error),
        }
    }

    /// Another descriptor of the same process.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
        })
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Spawn;

    #[test]
    fn how_another_ones_child_ended_is_told_where_the_kernel_does() {
        let mut spawn = Spawn::new("/bin/sh");
        spawn.args(["-c", "exit 7"]);
        let mut child = spawn.spawn().unwrap();
        let pidfd = PidFd::open(child.pid()).unwrap();
        pidfd.wait_ended(None).unwrap();
        // Nobody has waited for it.
        assert_eq!(pidfd.exit().unwrap(), None);
        let exit = child.wait().unwrap();
        assert!([None, Some(exit)].contains(&pidfd.exit().unwrap()));
        let release = nix::sys::utsname::uname().unwrap();
        let release = release.release().to_str().unwrap();
        let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
        let version = [(); 2].map(|()| numbers.next().unwrap().unwrap());
        if version >= [6, 15] {
            assert_eq!(pidfd.exit().unwrap(), Some(exit));
        }
    }
}

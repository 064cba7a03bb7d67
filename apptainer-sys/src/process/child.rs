//! A process that we started and must wait for.
#![expect(
    unsafe_code,
    reason = "nix's waitid does not tell of real-time signals"
)]

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Exit, Mechanism, Pid, PidFd, ResourceUsage, Signal};

/// A child process.
///
/// As with [`std::process::Child`], dropping it neither kills nor reaps the
/// process: whoever holds it must [wait](Self::wait).
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: PidFd,
    mechanism: Mechanism,
    ended: Option<(Exit, ResourceUsage)>,
    /// The writing end of its standard input, if that is a pipe.
    pub stdin: Option<OwnedFd>,
    /// The reading end of its standard output, if that is a pipe.
    pub stdout: Option<OwnedFd>,
    /// The reading end of its standard error, if that is a pipe.
    pub stderr: Option<OwnedFd>,
}

/// What a process wrote until it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Child {
    /// One that has just been started, with our ends of its pipes.
    pub(super) fn new(
        pid: Pid,
        pidfd: PidFd,
        mechanism: Mechanism,
        ends: [Option<OwnedFd>; 3],
    ) -> Self {
        let [stdin, stdout, stderr] = ends;
        Self {
            pid,
            pidfd,
            mechanism,
            ended: None,
            stdin,
            stdout,
            stderr,
        }
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its pidfd, readable once it has ended.
    pub fn pidfd(&self) -> &PidFd {
        &self.pidfd
    }

    /// How it was started.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Sends it a signal. That it has ended already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.is_reaped() {
            return Ok(());
        }
        self.pidfd.signal(signal)
    }

    /// Sends a signal to all of the process group that it was started to
    /// [lead](super::Session). That nobody is left in it is no error.
    ///
    /// Once it has been reaped its number may be another group's, so nothing is
    /// sent then.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if self.is_reaped() {
            return Ok(());
        }
        // SAFETY: kill takes two numbers. The group is this child's own: its number
        // cannot be given away before the child has been reaped.
        if unsafe { libc::kill(-self.pid, signal.number()) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// Waits until it has ended, and reaps it.
    pub fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some((exit, _)) = self.ended {
                return Ok(exit);
            }
            // Not by way of the pidfd, which is ready before the child can be reaped
            // while a debugger holds it.
            match wait_id(&self.pidfd, libc::WEXITED) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                ended => self.ended = ended?,
            }
        }
    }

    /// Reaps it if it has ended. Asked again, it gives the same answer.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        if self.ended.is_none() {
            self.ended = wait_id(&self.pidfd, libc::WEXITED | libc::WNOHANG)?;
        }
        Ok(self.ended.map(|(exit, _)| exit))
    }

    /// How it ended, if it has. Does not reap it, so its pid stays its own.
    pub fn peek(&self) -> io::Result<Option<Exit>> {
        let ended = match self.ended {
            Some(ended) => Some(ended),
            None => wait_id(&self.pidfd, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)?,
        };
        Ok(ended.map(|(exit, _)| exit))
    }

    /// What it has used, once it has been reaped.
    pub fn usage(&self) -> Option<ResourceUsage> {
        self.ended.map(|(_, usage)| usage)
    }

    /// Whether it has been reaped: its pid may be another process's by now.
    pub fn is_reaped(&self) -> bool {
        self.ended.is_some()
    }

    /// Closes its standard input, reads both outputs to their ends and reaps it.
    pub fn output(mut self) -> io::Result<Captured> {
        drop(self.stdin.take());
        let mut streams = [self.stdout.take(), self.stderr.take()].map(|end| end.map(File::from));
        let mut collected = [Vec::new(), Vec::new()];
        let mut buffer = vec![0; 64 * 1024];
        while streams.iter().any(Option::is_some) {
            for index in readable(&streams)? {
                let Some(stream) = &mut streams[index] else {
                    continue;
                };
                match stream.read(&mut buffer)? {
                    0 => streams[index] = None,
                    length => collected[index].extend_from_slice(&buffer[..length]),
                }
            }
        }
        let [stdout, stderr] = collected;
        Ok(Captured {
            exit: self.wait()?,
            stdout,
            stderr,
        })
    }
}

/// Waits until one of the streams can be read, and says which.
fn readable(streams: &[Option<File>; 2]) -> io::Result<Vec<usize>> {
    let open: Vec<_> = (0..2)
        .filter_map(|index| streams[index].as_ref().map(|stream| (index, stream)))
        .collect();
    let mut polled: Vec<_> = open
        .iter()
        .map(|(_, stream)| PollFd::new(stream.as_fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut polled, PollTimeout::NONE) {
        Ok(_) | Err(nix::Error::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    Ok(open
        .iter()
        .zip(&polled)
        .filter(|(_, fd)| ready(fd))
        .map(|((index, _), _)| *index)
        .collect())
}

fn wait_id(pidfd: &PidFd, flags: i32) -> io::Result<Option<(Exit, ResourceUsage)>> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // The system call gives what was used; libc's function has no place for it.
    // SAFETY: the descriptor is open, and both are writable memory of the right type.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            info.as_mut_ptr(),
            flags,
            usage.as_mut_ptr(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes is valid for both, and the call filled them or left them so.
    let (info, usage) = unsafe { (info.assume_init(), usage.assume_init()) };
    // SAFETY: waitid fills these fields, or leaves them zero when the child still runs.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let exit = if info.si_code == libc::CLD_EXITED {
        Exit::Code(status)
    } else {
        Exit::Signal(Signal::from_wait_status(status))
    };
    Ok(Some((exit, ResourceUsage::from(&usage))))
}

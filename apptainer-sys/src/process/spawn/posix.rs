//! `posix_spawn`.
#![expect(unsafe_code, reason = "posix_spawn is reached through libc")]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use super::launch::{Failure, Launch, Launched, Mechanism, null_terminated};
use super::stdio::left_open;
use super::{Placement, Session, SpawnStage};
use crate::process::{Pid, PidFd};

pub(super) fn start(launch: &Launch) -> Result<Launched, Failure> {
    if launch.parent_death.is_some() {
        let reason = "it takes clone3, which is not to be had here";
        let error = io::Error::new(io::ErrorKind::Unsupported, reason);
        return Err((SpawnStage::ParentDeath, error));
    }
    let actions = arrange(launch).map_err(|error| (SpawnStage::Descriptors, error))?;
    let pid = spawn(launch, &actions).map_err(|error| (SpawnStage::Exec, error))?;
    // The pid is the child's own until it has been waited for, and only we wait.
    let pidfd = PidFd::open(pid).map_err(|error| {
        // Gone already: somebody waits for every child, or nobody has to.
        if error.raw_os_error() != Some(libc::ESRCH) {
            end(pid);
        }
        (SpawnStage::Pidfd, error)
    })?;
    let placed = launch
        .placement
        .as_ref()
        .map_or(Ok(()), |to| place(pid, to));
    placed.map_err(|error| {
        end(pid);
        (SpawnStage::Cgroup, error)
    })?;
    Ok(Launched {
        pid,
        pidfd,
        mechanism: Mechanism::PosixSpawn,
    })
}

fn end(pid: Pid) {
    let child = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(child, nix::sys::signal::SIGKILL);
    while nix::sys::wait::waitpid(child, None) == Err(nix::Error::EINTR) {}
}

fn place(pid: Pid, placement: &Placement) -> io::Result<()> {
    for file in placement.all() {
        nix::unistd::write(file, pid.to_string().as_bytes())?;
    }
    Ok(())
}

fn arrange(launch: &Launch) -> io::Result<FileActions> {
    let mut actions = FileActions::new()?;
    if let Some(terminal) = &launch.terminal {
        // The first terminal that the leader of a session opens becomes the
        // session's. As its standard input, which is then set to what it is to be.
        let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
        actions.open(&CString::new(path)?, 0)?;
    }
    for (fd, number) in &launch.descriptors {
        actions.duplicate(fd.as_raw_fd(), *number)?;
    }
    for number in left_open(&launch.closed)? {
        match actions.close(number) {
            // It was opened before the limit of descriptors was lowered.
            Err(error) if error.raw_os_error() == Some(libc::EBADF) => {}
            done => done?,
        }
    }
    if let Some(path) = &launch.current_dir {
        actions.change_directory(path)?;
    }
    Ok(actions)
}

fn spawn(launch: &Launch, actions: &FileActions) -> io::Result<Pid> {
    let attributes = Attributes::new(launch.session)?;
    let argv = null_terminated(&launch.argv);
    let envp = null_terminated(&launch.envp);
    let mut pid = 0;
    // SAFETY: every pointer is to a live, initialised value; both arrays end in
    // a null and their strings outlive the call, and posix_spawn keeps none.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            argv[0],
            actions.0.as_ptr(),
            attributes.0.as_ptr(),
            argv.as_ptr().cast(),
            envp.as_ptr().cast(),
        )
    })?;
    Ok(pid)
}

/// The functions of `posix_spawn` return the error in place of setting errno.
fn check(error: libc::c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

struct FileActions(Box<MaybeUninit<libc::posix_spawn_file_actions_t>>);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to memory of the right type, which this initialises.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        Ok(Self(actions))
    }

    fn duplicate(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY: `new` initialised the actions.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(self.0.as_mut_ptr(), from, to) })
    }

    fn close(&mut self, number: RawFd) -> io::Result<()> {
        // SAFETY: `new` initialised the actions.
        check(unsafe { libc::posix_spawn_file_actions_addclose(self.0.as_mut_ptr(), number) })
    }

    fn open(&mut self, path: &CString, number: RawFd) -> io::Result<()> {
        // SAFETY: `new` initialised the actions, and libc copies the path.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(
                self.0.as_mut_ptr(),
                number,
                path.as_ptr(),
                libc::O_RDWR | libc::O_CLOEXEC,
                0,
            )
        })
    }

    fn change_directory(&mut self, path: &CString) -> io::Result<()> {
        // SAFETY: `new` initialised the actions, and libc copies the path.
        check(unsafe {
            libc::posix_spawn_file_actions_addchdir_np(self.0.as_mut_ptr(), path.as_ptr())
        })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: `new` initialised the actions, and nothing uses them after this.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

struct Attributes(Box<MaybeUninit<libc::posix_spawnattr_t>>);

impl Attributes {
    fn new(session: Session) -> io::Result<Self> {
        let mut attributes = Box::new(MaybeUninit::uninit());
        // SAFETY: the pointer is to memory of the right type, which this initialises.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        let mut attributes = Self(attributes);
        attributes.configure(session)?;
        Ok(attributes)
    }

    fn configure(&mut self, session: Session) -> io::Result<()> {
        let attributes = self.0.as_mut_ptr();
        let session = match session {
            Session::Inherit => 0,
            Session::NewGroup => libc::POSIX_SPAWN_SETPGROUP,
            Session::NewSession => i32::from(libc::POSIX_SPAWN_SETSID),
        };
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF | session;
        let flags = libc::c_short::try_from(flags).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut set = MaybeUninit::uninit();
        // SAFETY: `new` initialised the attributes; sigemptyset initialises the
        // set before anything reads it, and libc copies it.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(attributes, set.as_ptr()))?;
            libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
            check(libc::posix_spawnattr_setsigdefault(
                attributes,
                set.as_ptr(),
            ))?;
            check(libc::posix_spawnattr_setpgroup(attributes, 0))?;
            check(libc::posix_spawnattr_setflags(attributes, flags))
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: `new` initialised the attributes, and nothing uses them after this.
        unsafe { libc::posix_spawnattr_destroy(self.0.as_mut_ptr()) };
    }
}

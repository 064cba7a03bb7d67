//! Starting a process without copying the caller.
//!
//! `posix_spawn` shares the caller's memory with the child until it execs, so
//! its cost does not grow with the caller's size as that of `fork` does. That
//! rules out running code of ours in the child, and nothing here needs to.
#![expect(unsafe_code, reason = "posix_spawn is reached through libc")]

use std::ffi::{CString, NulError, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};

use super::{Child, Pid, pipe};

/// What a process gets as one of its three standard streams.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A new pipe; the caller keeps the other end.
    Pipe {
        /// How many bytes it holds; the kernel's default of 64 KiB otherwise.
        capacity: Option<usize>,
    },
    /// This descriptor.
    Fd(OwnedFd),
}

impl Stdio {
    /// A pipe of the size that streams best: 256 KiB, four times the default.
    pub const fn pipe() -> Self {
        Self::Pipe {
            capacity: Some(256 * 1024),
        }
    }
}

/// Which session and process group a new process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Session {
    /// The caller's: a terminal's Ctrl-C reaches both.
    #[default]
    Inherit,
    /// A group of its own in the caller's session.
    NewGroup,
    /// A session of its own, without a terminal. Everything that it starts can
    /// be found by the session's id, which is its pid.
    NewSession,
}

/// A process to start.
///
/// A builder in the manner of [`std::process::Command`], except that the
/// program is a path, never looked up, and that descriptors can be handed on by
/// [number](Self::inherit). What the caller has opened without close-on-exec is
/// inherited, as there.
#[derive(Debug)]
pub struct Spawn {
    program: PathBuf,
    args: Vec<OsString>,
    env: Option<Vec<(OsString, OsString)>>,
    current_dir: Option<PathBuf>,
    session: Session,
    streams: [Stdio; 3],
    inherited: Vec<(OwnedFd, RawFd)>,
}

/// What a [`Spawn`] was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnStage {
    /// Reading what it was given; nothing was started.
    Arguments,
    /// Making its pipes; nothing was started.
    Streams,
    /// Starting the program: it is missing, may not be run, or there is no
    /// room for another process.
    Exec,
    /// Opening a pidfd; what had been started was killed again.
    Pidfd,
}

/// A process could not be started.
#[derive(Debug, thiserror::Error)]
#[error("start {}: {source}", .program.display())]
pub struct SpawnError {
    /// The program.
    pub program: PathBuf,
    /// What was being done.
    pub stage: SpawnStage,
    /// Why it failed.
    pub source: io::Error,
}

impl Spawn {
    /// Starts the program at `program`, a path: `PATH` is not consulted.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: None,
            current_dir: None,
            session: Session::Inherit,
            streams: Default::default(),
            inherited: Vec::new(),
        }
    }

    /// Adds words to its argv, behind the program's name.
    pub fn args<W: Into<OsString>>(&mut self, words: impl IntoIterator<Item = W>) -> &mut Self {
        self.args.extend(words.into_iter().map(Into::into));
        self
    }

    /// Gives it exactly these variables; the caller's, if this is never called.
    pub fn env(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> &mut Self {
        self.env = Some(variables.into_iter().collect());
        self
    }

    /// Sets one variable, over one of the same name.
    pub fn set_env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> &mut Self {
        let name = name.into();
        let variables = self
            .env
            .get_or_insert_with(|| std::env::vars_os().collect());
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value.into()));
        self
    }

    /// Starts it in this directory.
    pub fn current_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Its session and process group.
    pub fn session(&mut self, session: Session) -> &mut Self {
        self.session = session;
        self
    }

    /// Its standard input.
    pub fn stdin(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[0] = stdio;
        self
    }

    /// Its standard output.
    pub fn stdout(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[1] = stdio;
        self
    }

    /// Its standard error.
    pub fn stderr(&mut self, stdio: Stdio) -> &mut Self {
        self.streams[2] = stdio;
        self
    }

    /// Gives it `descriptor` as number `number`, beyond the three streams.
    pub fn inherit(&mut self, descriptor: OwnedFd, number: RawFd) -> &mut Self {
        self.inherited.push((descriptor, number));
        self
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The words behind the program's name.
    pub fn argv(&self) -> &[OsString] {
        &self.args
    }

    /// The value that a variable will have, if [`env`](Self::env) set it.
    pub fn get_env(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        let variables = self.env.as_ref()?;
        let found = variables.iter().find(|(other, _)| other == name.as_ref());
        found.map(|(_, value)| value.as_os_str())
    }

    /// Starts it.
    ///
    /// Blocks until the program has been loaded or refused. The child has no
    /// blocked signals and the default disposition of `SIGPIPE`.
    pub fn spawn(self) -> Result<Child, SpawnError> {
        self.try_spawn().map_err(|(stage, source)| SpawnError {
            program: self.program,
            stage,
            source,
        })
    }

    fn try_spawn(&self) -> Result<Child, (SpawnStage, io::Error)> {
        let at = |stage| move |source: io::Error| (stage, source);
        let refused = |error: NulError| at(SpawnStage::Arguments)(error.into());
        let argv = self.c_argv().map_err(refused)?;
        let envp = self.c_env().map_err(refused)?;
        let Descriptors { theirs, ours } = self.open_streams().map_err(at(SpawnStage::Streams))?;
        let pid = start(&argv, &envp, self, &theirs).map_err(at(SpawnStage::Exec))?;
        Child::adopt(pid, ours).map_err(at(SpawnStage::Pidfd))
    }

    fn c_argv(&self) -> Result<Vec<CString>, NulError> {
        let program = std::iter::once(self.program.as_os_str());
        program
            .chain(self.args.iter().map(OsString::as_os_str))
            .map(|word| CString::new(word.as_bytes()))
            .collect()
    }

    fn c_env(&self) -> Result<Vec<CString>, NulError> {
        let pair = |name: &OsStr, value: &OsStr| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        match &self.env {
            Some(set) => set.iter().map(|(name, value)| pair(name, value)).collect(),
            None => std::env::vars_os()
                .map(|(name, value)| pair(&name, &value))
                .collect(),
        }
    }

    fn open_streams(&self) -> io::Result<Descriptors> {
        let numbers = self.inherited.iter().map(|(_, number)| *number);
        let highest = numbers.chain([2]).max().unwrap_or(2);
        // Out of the way of every number that the child's will be put at.
        let aside = |fd: OwnedFd| {
            if fd.as_raw_fd() > highest {
                return Ok(fd);
            }
            duplicate(&fd, highest + 1)
        };
        let mut descriptors = Descriptors::default();
        for (number, (stream, ours)) in (0..).zip(self.streams.iter().zip(&mut descriptors.ours)) {
            let theirs = match stream {
                Stdio::Inherit => continue,
                Stdio::Null => dev_null()?,
                Stdio::Fd(fd) => fd.try_clone()?,
                Stdio::Pipe { capacity } => {
                    let (reader, writer) = pipe::pipe(*capacity)?;
                    let is_input = number == 0;
                    let (theirs, kept) = if is_input {
                        (reader, writer)
                    } else {
                        (writer, reader)
                    };
                    *ours = Some(kept);
                    theirs
                }
            };
            descriptors.theirs.push((aside(theirs)?, number));
        }
        for (fd, number) in &self.inherited {
            descriptors.theirs.push((aside(fd.try_clone()?)?, *number));
        }
        Ok(descriptors)
    }
}

/// What a child's streams and inherited descriptors are made of.
#[derive(Default)]
struct Descriptors {
    /// The child's, with the number that each gets.
    theirs: Vec<(OwnedFd, RawFd)>,
    /// Our ends of its pipes, by stream.
    ours: [Option<OwnedFd>; 3],
}

fn dev_null() -> io::Result<OwnedFd> {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    Ok(file.into())
}

fn duplicate(fd: &OwnedFd, at_least: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(at_least))?;
    // SAFETY: the kernel has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

fn start(
    argv: &[CString],
    envp: &[CString],
    spawn: &Spawn,
    descriptors: &[(OwnedFd, RawFd)],
) -> io::Result<Pid> {
    let current_dir = spawn
        .current_dir
        .as_ref()
        .map(|path| CString::new(path.as_os_str().as_bytes()))
        .transpose()?;
    let mut actions = FileActions::new()?;
    if let Some(path) = &current_dir {
        actions.change_directory(path)?;
    }
    for (fd, number) in descriptors {
        actions.duplicate(fd.as_raw_fd(), *number)?;
    }
    let attributes = Attributes::new(spawn.session)?;
    let argv = null_terminated(argv);
    let envp = null_terminated(envp);
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

fn null_terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([std::ptr::null()]).collect()
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

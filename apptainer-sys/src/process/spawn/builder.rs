//! What is to be started.

use std::ffi::{CString, NulError, OsStr, OsString};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::clone;
use super::launch::{Failure, Launch, Launched};
use super::stdio::Descriptors;
use super::{Mechanism, Placement, SpawnError, SpawnStage, Stdio};
use crate::process::{Child, Pty, Signal, lasting};

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

/// Which of the caller's descriptors a new process gets, besides its streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Inheritance {
    /// Those that [`Spawn::inherit`] lists, and no others.
    #[default]
    Listed,
    /// Also what the caller has opened, or was given, without close-on-exec: what
    /// [`std::process::Command`] does, and what job servers and MPI's process
    /// managers count on.
    Open,
}

/// A process to start.
///
/// A builder in the manner of [`std::process::Command`], except that the
/// program is a path, never looked up, and that descriptors are handed on by
/// [number](Self::inherit), and only those, unless
/// [said otherwise](Self::inheritance).
#[derive(Debug)]
pub struct Spawn {
    program: PathBuf,
    args: Vec<OsString>,
    env: Option<Vec<(OsString, OsString)>>,
    current_dir: Option<PathBuf>,
    session: Session,
    streams: [Stdio; 3],
    terminal: Option<OwnedFd>,
    inherited: Vec<(OwnedFd, RawFd)>,
    inheritance: Inheritance,
    parent_death: Option<Signal>,
    placement: Option<Placement>,
    mechanism: Option<Mechanism>,
}

impl Spawn {
    /// Starts the program at `program`, a path: `PATH` is not consulted. A relative
    /// one is taken from the [directory](Self::current_dir) that it starts in.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: None,
            current_dir: None,
            session: Session::Inherit,
            streams: Default::default(),
            terminal: None,
            inherited: Vec::new(),
            inheritance: Inheritance::Listed,
            parent_death: None,
            placement: None,
            mechanism: None,
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

    /// Gives it `descriptor` as number `number`, which must be above 2 and not be
    /// given twice.
    pub fn inherit(&mut self, descriptor: OwnedFd, number: RawFd) -> &mut Self {
        self.inherited.push((descriptor, number));
        self
    }

    /// Whether it gets descriptors that are not listed.
    pub fn inheritance(&mut self, inheritance: Inheritance) -> &mut Self {
        self.inheritance = inheritance;
        self
    }

    /// Puts it at this terminal: in a session of its own, which the terminal
    /// controls, with every stream that is not set otherwise.
    ///
    /// A terminal controls one session at a time: this fails while it has another.
    pub fn terminal(&mut self, pty: &Pty) -> io::Result<&mut Self> {
        if pty.foreground_group()?.is_some() {
            let reason = "the terminal controls another session";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, reason));
        }
        self.terminal = Some(pty.terminal()?);
        Ok(self)
    }

    /// Sends it this signal when the caller's process ends, however that comes
    /// about.
    ///
    /// The kernel has this by thread: it would send the signal when the calling
    /// thread ends. So such a process is started by a thread that lasts as long as
    /// the caller's program does, one for all; it keeps the calling thread's CPUs,
    /// but has what else the first such caller's thread had of its own: priority,
    /// capabilities, filters, namespaces. A program that changes its user or gains
    /// capabilities loses the tie, and what it starts has none. Needs `clone3`.
    pub fn parent_death_signal(&mut self, signal: Signal) -> &mut Self {
        self.parent_death = Some(signal);
        self
    }

    /// Starts it in these cgroups, so that nothing that it starts escapes them.
    ///
    /// Should they be frozen meanwhile, [`spawn`](Self::spawn) waits until they are
    /// thawed.
    pub fn cgroup(&mut self, placement: Placement) -> &mut Self {
        self.placement = Some(placement);
        self
    }

    /// Starts it in this way only. Otherwise with `clone3`, and with `posix_spawn`
    /// where that is not to be had.
    pub fn mechanism(&mut self, mechanism: Mechanism) -> &mut Self {
        self.mechanism = Some(mechanism);
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
    pub fn spawn(mut self) -> Result<Child, SpawnError> {
        let placement = self.placement.take();
        self.try_spawn(placement)
            .map_err(|(stage, source)| SpawnError {
                program: self.program,
                stage,
                source,
            })
    }

    fn try_spawn(&self, placement: Option<Placement>) -> Result<Child, Failure> {
        let at = |stage| move |source: io::Error| (stage, source);
        let nul = |error: NulError| at(SpawnStage::Arguments)(error.into());
        self.check_numbers().map_err(at(SpawnStage::Arguments))?;
        let descriptors = Descriptors::open(&self.streams, self.terminal.as_ref(), &self.inherited)
            .map_err(at(SpawnStage::Streams))?;
        let closed = match self.inheritance {
            Inheritance::Listed => descriptors.gaps(),
            Inheritance::Open => Vec::new(),
        };
        let launch = Launch {
            argv: self.c_argv().map_err(nul)?,
            envp: self.c_env().map_err(nul)?,
            current_dir: self
                .current_dir
                .as_deref()
                .map(c_path)
                .transpose()
                .map_err(nul)?,
            session: if self.terminal.is_some() {
                Session::NewSession
            } else {
                self.session
            },
            terminal: descriptors.terminal,
            parent_death: self.parent_death,
            cpus: self.parent_death.and_then(|_| clone::own_cpus()),
            descriptors: descriptors.theirs,
            closed,
            placement,
        };
        let mechanism = self.mechanism;
        let Launched {
            pid,
            pidfd,
            mechanism,
        } = if self.parent_death.is_some() {
            lasting::run(move || launch.start(mechanism)).map_err(at(SpawnStage::ParentDeath))??
        } else {
            launch.start(mechanism)?
        };
        Ok(Child::new(pid, pidfd, mechanism, descriptors.ours))
    }

    /// Each descriptor has a number of its own, above the streams'.
    fn check_numbers(&self) -> io::Result<()> {
        let mut numbers: Vec<_> = self.inherited.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        let is_stream = numbers.first().is_some_and(|first| *first <= 2);
        if is_stream || numbers.windows(2).any(|pair| pair[0] == pair[1]) {
            let reason = "a descriptor's number must be above 2 and be given once";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Ok(())
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
}

fn c_path(path: &Path) -> Result<CString, NulError> {
    CString::new(path.as_os_str().as_bytes())
}

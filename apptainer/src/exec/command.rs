//! A command to run.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::WindowSize;

use super::{Child, ExecError, ExitStatus, Mechanism, Output, Resource, Stdio};
use crate::container::Container;
use crate::process::OnDrop;
use crate::variables::Variables;

use super::place::Way;

/// A command to run in a container, shaped like
/// [`tokio::process::Command`](https://docs.rs/tokio/latest/tokio/process/struct.Command.html).
///
/// It gets there by a [`Mechanism`]: in an [instance](crate::Instance) or over a
/// [link](super::Link) an agent starts it, for about what a process on the host costs;
/// otherwise, and where no agent runs, an `apptainer exec` does. What differs is said at
/// [`Mechanism`].
///
/// Unlike in tokio, a command that is dropped before it has ended is killed, unless
/// [`kill_on_drop`](Self::kill_on_drop) says otherwise; and [`spawn`](Self::spawn) is to
/// be awaited.
///
/// ```no_run
/// # async fn example(instance: apptainer::Instance) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let output = instance
///     .command("make")
///     .args(["-j", "4"])
///     .current_dir("/src")
///     .env("CFLAGS", "-O2")
///     .timeout(Duration::from_secs(600))
///     .output()
///     .await?;
/// assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a command does nothing until it is spawned"]
pub struct Command {
    pub(super) way: Way,
    pub(super) description: Description,
    pub(super) streams: [Option<Stdio>; 3],
    pub(super) mechanism: Option<Mechanism>,
    pub(super) timeout: Option<Duration>,
    pub(super) grace: Duration,
    pub(super) output_limit: Option<usize>,
    kill_on_drop: bool,
}

/// What commands in a place are like, unless they say otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
    /// Soft and hard.
    pub(crate) limits: Vec<(Resource, u64, u64)>,
}

/// What a command is, whichever way it is run.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    /// What is set, and, where there is no value, removed.
    pub(super) env: Variables<Option<OsString>>,
    pub(super) clears_env: bool,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) umask: Option<u32>,
    pub(super) nice: i32,
    /// Soft and hard ones.
    pub(super) limits: Vec<(Resource, u64, u64)>,
    pub(super) terminal: Option<WindowSize>,
    pub(super) side_channel: Option<OwnedFd>,
    /// Whether it is ours, and ends when its input does.
    pub(super) ends_by_itself: bool,
}

impl Container {
    /// A command in a container of its own, which lasts as long as the command.
    ///
    /// The program is a path in the container, or a name on its `PATH`. It gets what the
    /// caller has open without close-on-exec, as with tokio, and as MPI's process managers
    /// need it.
    ///
    /// Each takes an `apptainer exec`: for more than a few, make a
    /// [link](Self::link) or [start](Self::start) an instance.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(Way::Cli(Arc::new(self.place())), program)
    }
}

impl Command {
    pub(crate) fn new(way: Way, program: impl AsRef<OsStr>) -> Self {
        let defaults = match &way {
            Way::Slot(slot) => slot.defaults().clone(),
            _ => Defaults::default(),
        };
        Self::like(defaults, way, program)
    }

    pub(super) fn like(defaults: Defaults, way: Way, program: impl AsRef<OsStr>) -> Self {
        Self {
            way,
            description: Description {
                program: program.as_ref().to_owned(),
                args: Vec::new(),
                env: Variables::default(),
                clears_env: false,
                current_dir: defaults.current_dir,
                umask: defaults.umask,
                nice: 0,
                limits: defaults.limits,
                terminal: None,
                side_channel: None,
                ends_by_itself: false,
            },
            streams: [None, None, None],
            mechanism: None,
            timeout: None,
            grace: Duration::from_secs(5),
            output_limit: None,
            kill_on_drop: true,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.description.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.description.args.extend(args);
        self
    }

    /// Sets a variable, over what the container or the host has.
    ///
    /// The value arrives as it is. By an `apptainer exec` the name must be one that a shell
    /// can set, and not `HOME`, and the value be UTF-8; an agent takes all that the kernel
    /// does.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.change_env(name.as_ref(), Some(value.as_ref().to_owned()))
    }

    /// Sets variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Takes a variable away, whoever has set it. Needs an agent.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.change_env(name.as_ref(), None)
    }

    /// Takes all variables away, but for what is set after this. Needs an agent.
    pub fn env_clear(&mut self) -> &mut Self {
        self.description.env.clear();
        self.description.clears_env = true;
        self
    }

    fn change_env(&mut self, name: &OsStr, value: Option<OsString>) -> &mut Self {
        let env = &mut self.description.env;
        env.retain(|(other, _)| other != name);
        env.push((name.to_owned(), value));
        self
    }

    /// Where it runs: a path in the container, which must be there.
    pub fn current_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.description.current_dir = Some(path.into());
        self
    }

    /// Its standard input: inherited by default, null for [`output`](Self::output).
    ///
    /// A descriptor that is given for a stream stays open here as long as the
    /// `Command` lives, for it may be spawned again: drop that to close the pipe.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[0] = Some(stdio.into());
        self
    }

    /// Its standard output: inherited by default, piped for [`output`](Self::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[1] = Some(stdio.into());
        self
    }

    /// Its standard error: inherited by default, piped for [`output`](Self::output).
    ///
    /// By an `apptainer exec`, where this is inherited or given a descriptor, a failure of
    /// Apptainer itself can not be told from the command's own exit with 255 (or 1): what
    /// Apptainer says goes past us.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.streams[2] = Some(stdio.into());
        self
    }

    /// Runs it at a terminal of its own, in the container, of this size: that is all of its
    /// streams, and [`Child::terminal`] the other end. Needs an agent.
    pub fn terminal(&mut self, size: WindowSize) -> &mut Self {
        self.description.terminal = Some(size);
        self
    }

    /// Gives it this as its descriptor 3. Needs an agent that descriptors can be passed to.
    pub(crate) fn side_channel(&mut self, fd: OwnedFd) -> &mut Self {
        self.description.side_channel = Some(fd);
        self
    }

    /// Which permissions the files that it makes do not have: of `0o777`. Needs an agent.
    pub fn umask(&mut self, mask: u32) -> &mut Self {
        self.description.umask = Some(mask & 0o777);
        self
    }

    /// Adds to its niceness: above 0 it yields to others. Needs an agent.
    pub fn nice(&mut self, by: i32) -> &mut Self {
        self.description.nice = by.clamp(-40, 40);
        self
    }

    /// Limits what it may use of a resource, and each process that it starts:
    /// setrlimit(2). It may raise the soft limit up to the hard one. Needs an agent.
    pub fn rlimit(&mut self, resource: Resource, soft: u64, hard: u64) -> &mut Self {
        let limits = &mut self.description.limits;
        limits.retain(|(other, ..)| *other != resource);
        limits.push((resource, soft, hard));
        self
    }

    /// Ends it when it takes longer: `SIGTERM` to all of it, and after
    /// [`grace`](Self::grace) `SIGKILL`.
    ///
    /// Counted from the start, whether or not it is waited for. That it happened
    /// is in [`Output::timed_out`] and [`Child::timed_out`].
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        self.timeout = Some(limit);
        self
    }

    /// How long it may take to obey `SIGTERM`; 5 seconds otherwise.
    pub fn grace(&mut self, grace: Duration) -> &mut Self {
        self.grace = grace;
        self
    }

    /// Collects no more than so many bytes of each output, half of them from its beginning and
    /// half from its end; how much is left out in between is in [`Output::stdout_omission`] and
    /// [`Output::stderr_omission`]. All of it is collected otherwise, as with std and tokio.
    ///
    /// So what [`output`](Self::output) and [`Child::wait_with_output`] take of memory is in
    /// proportion to this, however much the command writes. It goes on as if all were kept.
    pub fn output_limit(&mut self, bytes: usize) -> &mut Self {
        self.output_limit = Some(bytes);
        self
    }

    /// Whether it is killed when its [`Child`], or the future that runs it, is
    /// dropped before it has ended: yes by default.
    ///
    /// What is let go still ends with its container, and with the link that it came by.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Runs it in this way, or not at all. Otherwise in the best way that there is.
    pub fn mechanism(&mut self, mechanism: Mechanism) -> &mut Self {
        self.mechanism = Some(mechanism);
        self
    }

    /// Starts it.
    ///
    /// With [`Mechanism::Agent`], when this returns it runs, and an error says why it does
    /// not. With [`Mechanism::Cli`], that the program is not in the container, or cannot be
    /// run, is learned by waiting for it.
    ///
    /// Dropping the future leaves nothing of it.
    ///
    /// # Panics
    ///
    /// When called in a tokio runtime without its I/O or time drivers.
    pub async fn spawn(&mut self) -> Result<Child, ExecError> {
        let inherit = Stdio::inherit();
        self.start([&inherit, &inherit, &inherit], true).await
    }

    /// Runs it and waits for it.
    ///
    /// Dropping the future kills the command, unless
    /// [`kill_on_drop`](Self::kill_on_drop) is off.
    pub async fn status(&mut self) -> Result<ExitStatus, ExecError> {
        let inherit = Stdio::inherit();
        let child = self.start([&inherit, &inherit, &inherit], false).await;
        child?.wait().await
    }

    /// Runs it and collects what it writes.
    ///
    /// Dropping the future kills the command, unless
    /// [`kill_on_drop`](Self::kill_on_drop) is off; what it wrote is lost.
    pub async fn output(&mut self) -> Result<Output, ExecError> {
        let (null, piped) = (Stdio::null(), Stdio::piped());
        let child = self.start([&null, &piped, &piped], false).await;
        child?.wait_with_output().await
    }

    /// Lets it end by itself when its input does, whoever has been killed by then. Needs an agent.
    pub(crate) fn end_by_itself(&mut self) -> &mut Self {
        self.description.ends_by_itself = true;
        self.kill_on_drop(false)
    }

    pub(super) fn on_drop(&self) -> OnDrop {
        if self.kill_on_drop {
            OnDrop::Kill
        } else {
            OnDrop::Detach
        }
    }
}

impl Description {
    /// What only an agent can do of it.
    pub(super) fn needs_agent(&self) -> Option<&'static str> {
        let needs = [
            (self.clears_env, "env_clear"),
            (
                self.env.iter().any(|(_, value)| value.is_none()),
                "env_remove",
            ),
            (self.terminal.is_some(), "terminal"),
            (self.umask.is_some(), "umask"),
            (self.nice != 0, "nice"),
            (!self.limits.is_empty(), "rlimit"),
            (self.side_channel.is_some(), "a side channel"),
        ];
        let mut needs = needs.into_iter();
        needs.find_map(|(is_needed, option)| is_needed.then_some(option))
    }
}

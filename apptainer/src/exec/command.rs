//! A command to run.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::Feature;
use apptainer_sys::command::{ActionOptions, Exec, GlobalOptions};
use apptainer_sys::process::{Inheritance, Session, Spawn};

use super::{Child, ExecError, ExitStatus, Output, Stdio};
use crate::Apptainer;
use crate::container::{Container, Settings};
use crate::process::OnDrop;

/// Where a command runs: an image or an instance, in Apptainer's words, and what
/// is settled for all commands there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) client: Apptainer,
    pub(crate) image: OsString,
    pub(crate) settings: Settings,
}

/// A command to run in a container, shaped like
/// [`tokio::process::Command`](https://docs.rs/tokio/latest/tokio/process/struct.Command.html).
///
/// Unlike there, a command that is dropped before it has ended is killed, unless
/// [`kill_on_drop`](Self::kill_on_drop) says otherwise. As there, it gets what the
/// caller has open without close-on-exec, as MPI's process managers need it.
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
    place: Place,
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    current_dir: Option<PathBuf>,
    stdin: Option<Stdio>,
    stdout: Option<Stdio>,
    stderr: Option<Stdio>,
    timeout: Option<Duration>,
    grace: Duration,
    kill_on_drop: bool,
}

impl Container {
    /// A command in a container of its own, which lasts as long as the command.
    ///
    /// The program is a path in the container, or a name on its `PATH`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let place = Place {
            client: self.client().clone(),
            image: self.image().path().as_os_str().to_owned(),
            settings: self.settings.clone(),
        };
        Command::new(place, program)
    }
}

impl Command {
    pub(crate) fn new(place: Place, program: impl AsRef<OsStr>) -> Self {
        Self {
            place,
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            current_dir: None,
            stdin: None,
            stdout: None,
            stderr: None,
            timeout: None,
            grace: Duration::from_secs(5),
            kill_on_drop: true,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = A>) -> &mut Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.args.extend(args);
        self
    }

    /// Sets a variable, over what the container or the host has.
    ///
    /// The value arrives as it is, whatever it holds. The name must be one that a
    /// shell can set, and not `HOME`.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        let pair = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.env.push(pair);
        self
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

    /// Where it runs: a path in the container, which must be there.
    pub fn current_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.current_dir = Some(path.into());
        self
    }

    /// Its standard input: inherited by default, null for [`output`](Self::output).
    ///
    /// A descriptor that is given for a stream stays open here as long as the
    /// `Command` lives, for it may be spawned again: drop that to close the pipe.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdin = Some(stdio.into());
        self
    }

    /// Its standard output: inherited by default, piped for [`output`](Self::output).
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stdout = Some(stdio.into());
        self
    }

    /// Its standard error: inherited by default, piped for [`output`](Self::output).
    ///
    /// Where it is inherited, or given a descriptor, a failure of Apptainer itself
    /// can not be told from the command's own exit with 255 (or 1): what Apptainer
    /// says goes past us.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Self {
        self.stderr = Some(stdio.into());
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

    /// Whether it is killed when its [`Child`], or the future that runs it, is
    /// dropped before it has ended: yes by default.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Starts it.
    ///
    /// That the program is not in the container, or cannot be run, is learned by
    /// waiting for it.
    ///
    /// # Panics
    ///
    /// When called in a tokio runtime without its I/O or time drivers.
    pub fn spawn(&mut self) -> Result<Child, ExecError> {
        self.start(&Stdio::inherit(), &Stdio::inherit())
    }

    /// With these for the streams that have not been set.
    fn start(&self, input: &Stdio, output: &Stdio) -> Result<Child, ExecError> {
        let mut spawn = self.invocation()?;
        let stdin = self.stdin.as_ref().unwrap_or(input);
        let stdout = self.stdout.as_ref().unwrap_or(output);
        let stderr = self.stderr.as_ref().unwrap_or(output);
        // On a terminal the command is in the foreground with us, and gets what is
        // typed there. Otherwise it has a session of its own, by which everything
        // that it starts can be found.
        let is_interactive = stdin.is_terminal(&std::io::stdin())
            || stdout.is_terminal(&std::io::stdout())
            || stderr.is_terminal(&std::io::stderr());
        if !is_interactive {
            spawn.session(Session::NewSession);
        }
        // Read all the same: it says why Apptainer failed.
        let is_discarded = stderr.is_null();
        let piped = Stdio::piped();
        let stderr = if is_discarded { &piped } else { stderr };
        spawn
            .inheritance(Inheritance::Open)
            .stdin(stdin.to_sys()?)
            .stdout(stdout.to_sys()?)
            .stderr(stderr.to_sys()?);
        let on_drop = if self.kill_on_drop {
            OnDrop::Kill
        } else {
            OnDrop::Detach
        };
        let mut child = Child::spawn(spawn, on_drop)?;
        if is_discarded {
            child.discard_stderr();
        }
        if let Some(limit) = self.timeout {
            child.end_after(limit, self.grace)?;
        }
        Ok(child)
    }

    /// Runs it and waits for it.
    ///
    /// Dropping the future kills the command, unless
    /// [`kill_on_drop`](Self::kill_on_drop) is off.
    pub async fn status(&mut self) -> Result<ExitStatus, ExecError> {
        self.spawn()?.wait().await
    }

    /// Runs it and collects what it writes.
    ///
    /// Dropping the future kills the command, unless
    /// [`kill_on_drop`](Self::kill_on_drop) is off; what it wrote is lost.
    pub async fn output(&mut self) -> Result<Output, ExecError> {
        let child = self.start(&Stdio::null(), &Stdio::piped())?;
        child.wait_with_output().await
    }

    fn invocation(&self) -> Result<Spawn, ExecError> {
        let Place {
            client,
            image,
            settings,
        } = &self.place;
        let mut exec = Exec::new(image, &self.program, &self.args);
        exec.action = self.action()?;
        if let Some(path) = self.current_dir.as_ref().or(settings.current_dir.as_ref()) {
            if client.install().has(Feature::Cwd) {
                exec.foreground.cwd(path);
            } else {
                exec.foreground.pwd(path);
            }
        }
        Ok(client.invocation(&GlobalOptions::silent(), &exec)?)
    }

    fn action(&self) -> Result<ActionOptions, ExecError> {
        let mut action = self.place.settings.checked()?;
        for (name, value) in self.place.settings.env.iter().chain(&self.env) {
            action.env(name, value);
        }
        Ok(action)
    }
}

//! Starting a command: by which way, and with what.

use std::io;
use std::sync::Arc;

use apptainer_sys::command::Exec;
use apptainer_sys::process::{Inheritance, Session};

use super::cli::Cli;
use super::ends::Ends;
use super::link::{Connection, LinkError, Mux, Reached, Remote, Transport};
use super::place::{Place, Way};
use super::{Child, Command, ExecError, Mechanism, Stdio};

impl Command {
    /// With these for the streams that have not been set. With an agent, waits until it
    /// runs where `reports_start` says so, and otherwise only until it has been asked for.
    pub(super) async fn start(
        &self,
        defaults: [&Stdio; 3],
        reports_start: bool,
    ) -> Result<Child, ExecError> {
        let [input, output, error] = defaults;
        let streams = [
            self.streams[0].as_ref().unwrap_or(input),
            self.streams[1].as_ref().unwrap_or(output),
            self.streams[2].as_ref().unwrap_or(error),
        ];
        self.check()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(ExecError::Wait(io::Error::other(
                "there is no tokio runtime here",
            )));
        }
        let mut child = match self.reach(streams).await? {
            Reached::Cli(place) => self.start_by_cli(&place, streams)?,
            Reached::Agent(transport) => {
                match self.start_by_agent(transport, streams, reports_start).await {
                    // It had ended before it was asked, and there can be another.
                    Err(Refused { error, is_unasked })
                        if is_unasked && matches!(self.way, Way::Slot(_)) =>
                    {
                        tracing::debug!(%error, "the exec agent is started again");
                        match self.reach(streams).await? {
                            Reached::Cli(place) => self.start_by_cli(&place, streams)?,
                            Reached::Agent(transport) => self
                                .start_by_agent(transport, streams, reports_start)
                                .await
                                .map_err(|refused| refused.error)?,
                        }
                    }
                    started => started.map_err(|refused| refused.error)?,
                }
            }
        };
        child.limit_output(self.output_limit);
        if let Some(limit) = self.timeout {
            child.end_after(limit, self.grace)?;
        }
        Ok(child)
    }

    /// Refuses what nothing could run.
    fn check(&self) -> Result<(), ExecError> {
        let words = &self.description;
        let env = words.env.iter();
        let values = env.clone().filter_map(|(_, value)| value.as_ref());
        let mut all = std::iter::once(&words.program)
            .chain(&words.args)
            .chain(env.clone().map(|(name, _)| name))
            .chain(values);
        let has_nul = |word: &std::ffi::OsString| word.as_encoded_bytes().contains(&0);
        let directory = words.current_dir.as_ref();
        if all.any(has_nul)
            || directory.is_some_and(|path| path.as_os_str().as_encoded_bytes().contains(&0))
        {
            return Err(ExecError::Nul);
        }
        let is_name = |name: &[u8]| !name.is_empty() && !name.contains(&b'=');
        match env
            .map(|(name, _)| name)
            .find(|name| !is_name(name.as_encoded_bytes()))
        {
            Some(name) => Err(ExecError::VariableName { name: name.clone() }),
            None => Ok(()),
        }
    }

    async fn reach(&self, streams: [&Stdio; 3]) -> Result<Reached, ExecError> {
        let needs = self.description.needs_agent();
        let unavailable = |needs| ExecError::Unavailable {
            mechanism: Mechanism::Agent,
            needs,
        };
        if let Way::Slot(slot) = &self.way {
            slot.check()?;
        }
        let reached = match (&self.way, self.mechanism) {
            (Way::Link(_), Some(Mechanism::Cli)) => {
                return Err(ExecError::Unavailable {
                    mechanism: Mechanism::Cli,
                    needs: None,
                });
            }
            (Way::Link(transport), _) => Reached::Agent(transport.clone()),
            (Way::Cli(place), _) => Reached::Cli(Arc::clone(place)),
            (Way::Slot(slot), Some(Mechanism::Cli)) => Reached::Cli(Arc::clone(slot.place())),
            // On a terminal the command is in the foreground with us, and gets what is
            // typed there: so it has to be in our session.
            (Way::Slot(slot), None) if needs.is_none() && is_interactive(streams) => {
                Reached::Cli(Arc::clone(slot.place()))
            }
            (Way::Slot(slot), _) => slot.reach().await?,
        };
        let is_wanted = self.mechanism == Some(Mechanism::Agent) || needs.is_some();
        if matches!(reached, Reached::Cli(_)) && is_wanted {
            return Err(unavailable(needs));
        }
        Ok(reached)
    }

    async fn start_by_agent(
        &self,
        transport: Transport,
        streams: [&Stdio; 3],
        reports_start: bool,
    ) -> Result<Child, Refused> {
        // A terminal comes with the word that it runs.
        let reports_start = reports_start || self.description.terminal.is_some();
        match transport {
            Transport::Local(connection) => {
                self.start_locally(connection, streams, reports_start).await
            }
            Transport::Stream(mux) => {
                let started = self.start_over_stream(mux, streams, reports_start);
                // There is no other way that could be tried.
                started.await.map_err(Refused::asked)
            }
        }
    }

    async fn start_locally(
        &self,
        connection: Arc<Connection>,
        streams: [&Stdio; 3],
        reports_start: bool,
    ) -> Result<Child, Refused> {
        let opened = Stdio::open_all(streams);
        let (theirs, ours) = opened.map_err(Refused::asked)?;
        let fds = theirs.each_ref().map(std::os::fd::AsFd::as_fd);
        let connection = Arc::clone(&connection);
        let remote = Remote::ask(
            connection,
            &self.description,
            fds,
            self.on_drop(),
            reports_start,
        );
        let mut remote = remote.await.map_err(|error| Refused {
            is_unasked: matches!(error, ExecError::Link(LinkError::Lost)),
            error,
        })?;
        drop(theirs);
        if reports_start {
            remote.started().await.map_err(Refused::asked)?;
        }
        let ends = Ends::local(ours, remote.take_terminal()).map_err(Refused::asked)?;
        Ok(Child::remote(remote, ends))
    }

    async fn start_over_stream(
        &self,
        mux: Arc<Mux>,
        streams: [&Stdio; 3],
        reports_start: bool,
    ) -> Result<Child, ExecError> {
        if self.description.side_channel.is_some() {
            return Err(ExecError::Unavailable {
                mechanism: Mechanism::Agent,
                needs: self.description.needs_agent(),
            });
        }
        let terminal = self.description.terminal;
        let is_piped = match terminal {
            Some(_) => [false; 3],
            None => Stdio::carried(streams)?,
        };
        let asked = Remote::ask_over_stream(
            mux,
            &self.description,
            is_piped,
            self.on_drop(),
            reports_start,
        );
        let (mut remote, channel) = asked.await?;
        let ends = Ends::carried(&channel, is_piped, terminal);
        drop(channel);
        if reports_start {
            remote.started().await?;
        }
        Ok(Child::remote(remote, ends))
    }

    fn start_by_cli(&self, place: &Place, streams: [&Stdio; 3]) -> Result<Child, ExecError> {
        let words = &self.description;
        let exec = Exec::new(&place.image, &words.program, &words.args);
        let directory = words.current_dir.as_deref();
        let mut process = place.invoke(exec, directory, &words.env)?;
        // A session of its own, by which everything that it starts can be found; but one
        // that shares our terminal stays in ours.
        if !is_interactive(streams) {
            process.session(Session::NewSession);
        }
        let [stdin, stdout, stderr] = streams;
        // Read all the same: it says why Apptainer failed.
        let is_discarded = stderr.is_null();
        let read = Stdio::piped();
        let stderr = if is_discarded { &read } else { stderr };
        process
            .inheritance(Inheritance::Open)
            .stdin(stdin.to_sys()?)
            .stdout(stdout.to_sys()?)
            .stderr(stderr.to_sys()?);
        let (mut cli, pipes, tail) = Cli::spawn(process, self.on_drop())?;
        if let Some(image) = &place.uses {
            cli.keep(image.clone());
        }
        let mut child = Child::cli(cli, pipes, tail)?;
        if is_discarded {
            child.discard_stderr();
        }
        Ok(child)
    }
}

/// Why an agent did not start a command.
struct Refused {
    error: ExecError,
    /// Whether it has never been asked.
    is_unasked: bool,
}

impl Refused {
    fn asked(error: impl Into<ExecError>) -> Self {
        Self {
            error: error.into(),
            is_unasked: false,
        }
    }
}

/// Whether a command shares the caller's terminal.
fn is_interactive([stdin, stdout, stderr]: [&Stdio; 3]) -> bool {
    stdin.is_terminal(&std::io::stdin())
        || stdout.is_terminal(&std::io::stdout())
        || stderr.is_terminal(&std::io::stderr())
}

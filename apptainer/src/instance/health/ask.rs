//! Asking an instance.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::failure::ProbeFailure;
use super::file::{self, Seen};
use super::http;
use super::listening::{self, Listening};
use super::probe::{CustomProbe, PortRef, Probe, Probed};
use crate::Command;
use crate::blocking::blocking;
use crate::exec::{Output, Slot, Way};
use crate::instance::processes::Processes;

/// Who is asked.
#[derive(Debug, Clone)]
pub(in crate::instance) struct Target {
    processes: Arc<Processes>,
    slot: Arc<Slot>,
    ports: Arc<[(String, u16)]>,
    /// Held by whoever looks at files, so that a file system that does not answer takes one
    /// thread and not one for each probe.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Target {
    pub(in crate::instance) fn new(
        processes: Arc<Processes>,
        slot: Arc<Slot>,
        ports: Vec<(String, u16)>,
    ) -> Self {
        Self {
            processes,
            slot,
            ports: ports.into(),
            looking: Arc::default(),
        }
    }

    /// Asks once, for as long as it takes. Dropped, it leaves nothing.
    pub(in crate::instance) async fn ask(&self, probe: &Probe) -> Result<(), ProbeFailure> {
        if let Some((field, problem)) = probe.findings().into_iter().next() {
            return Err(ProbeFailure::Invalid { field, problem });
        }
        self.check_runs()?;
        match probe {
            Probe::Command { argv } => self.run(argv).await?,
            Probe::Tcp { port } => self.connect(port).await?,
            Probe::Http { port, path, status } => {
                let code = self.get(port, path).await?;
                if !status.contains(&code) {
                    return Err(ProbeFailure::Status { code });
                }
            }
            Probe::File { path, newer_than } => self.look(path, *newer_than).await?,
            Probe::Custom(custom) => self.ask_custom(custom).await?,
        }
        self.check_runs()
    }

    fn check_runs(&self) -> Result<(), ProbeFailure> {
        let has_ended = self.processes.has_payload_ended();
        let has_ended = has_ended.map_err(ProbeFailure::io("look at the instance"))?;
        if has_ended {
            Err(ProbeFailure::Ended)
        } else {
            Ok(())
        }
    }

    fn number(&self, port: &PortRef) -> Result<u16, ProbeFailure> {
        match port {
            PortRef::Number(number) => Ok(*number),
            PortRef::Name(name) => {
                let mut ports = self.ports.iter();
                let found = ports.find(|(other, _)| other == name);
                let found = found.map(|(_, number)| *number);
                found.ok_or_else(|| ProbeFailure::UnknownPort { name: name.clone() })
            }
        }
    }

    async fn listening(&self, port: u16) -> Result<Listening, ProbeFailure> {
        let processes = Arc::clone(&self.processes);
        blocking(move || listening::find(&processes, port)).await
    }

    async fn connect(&self, port: &PortRef) -> Result<(), ProbeFailure> {
        match self.listening(self.number(port)?).await? {
            Listening::Here(addresses) => connect(&addresses).await.map(drop),
            Listening::OwnNetwork => Ok(()),
        }
    }

    async fn get(&self, port: &PortRef, path: &str) -> Result<u16, ProbeFailure> {
        let port = self.number(port)?;
        match self.listening(port).await? {
            Listening::Here(addresses) => http::get(connect(&addresses).await?, port, path).await,
            Listening::OwnNetwork => Err(ProbeFailure::OwnNetwork { port }),
        }
    }

    async fn run(&self, argv: &[String]) -> Result<(), ProbeFailure> {
        let output = self.output(argv).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(ProbeFailure::Exit {
            status: output.status,
            output: end_of(&output),
        })
    }

    async fn output(&self, argv: &[String]) -> Result<Output, ProbeFailure> {
        let argv: Vec<String> = argv.iter().map(|word| self.filled(word)).collect();
        let mut command = Command::new(Way::Slot(Arc::clone(&self.slot)), &argv[0]);
        command.args(&argv[1..]).output_limit(2 * END);
        Ok(command.output().await?)
    }

    /// With the numbers of ports in the place of their names.
    fn filled(&self, word: &str) -> String {
        let mut word = word.to_owned();
        for (name, number) in &*self.ports {
            word = word.replace(&format!("{{port:{name}}}"), &number.to_string());
        }
        word
    }

    async fn look(&self, path: &Path, newer_than: Option<Duration>) -> Result<(), ProbeFailure> {
        let alone = Arc::clone(&self.looking).lock_owned().await;
        let processes = Arc::clone(&self.processes);
        let looked_at = path.to_owned();
        let look = move || {
            let _alone = alone;
            file::look(&processes, &looked_at)
        };
        let mut seen = blocking(look)
            .await
            .map_err(ProbeFailure::io("look at a file"))?;
        if seen == Seen::Hidden {
            seen = self.look_inside(path, newer_than).await?;
        }
        let not_there = || ProbeFailure::NotThere {
            path: path.to_owned(),
        };
        let Seen::There(modified) = seen else {
            return Err(not_there());
        };
        // One from the future is as new as can be.
        let age = SystemTime::now()
            .duration_since(modified)
            .unwrap_or_default();
        match newer_than {
            Some(most) if age > most => Err(ProbeFailure::TooOld {
                path: path.to_owned(),
                age,
            }),
            _ => Ok(()),
        }
    }

    /// Has the container's own programs look.
    async fn look_inside(
        &self,
        path: &Path,
        newer_than: Option<Duration>,
    ) -> Result<Seen, ProbeFailure> {
        let mut command = Command::new(
            Way::Slot(Arc::clone(&self.slot)),
            if newer_than.is_some() { "stat" } else { "test" },
        );
        match newer_than {
            // Both of GNU and of busybox.
            Some(_) => command.args(["-L", "-c", "%Y"]),
            None => command.arg("-e"),
        };
        let output = command.arg(path).output_limit(2 * END).output().await?;
        if !output.status.success() {
            return Ok(Seen::NotThere);
        }
        if newer_than.is_none() {
            return Ok(Seen::There(SystemTime::now()));
        }
        let seconds = output.stdout_text().trim().parse();
        let modified = seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
        let modified = modified.map_err(|_| ProbeFailure::Exit {
            status: output.status,
            output: end_of(&output),
        })?;
        Ok(Seen::There(modified))
    }

    async fn ask_custom(&self, custom: &CustomProbe) -> Result<(), ProbeFailure> {
        let probed = Probed {
            pid: self.processes.payload_pid(),
            ports: Arc::clone(&self.ports),
            slot: Arc::clone(&self.slot),
        };
        let custom = custom.clone();
        // A task of its own, so that a panic is its own too; it ends when this is dropped.
        let mut task = JoinSet::new();
        task.spawn(async move { custom.ask(probed).await });
        match task.join_next().await {
            Some(Ok(answer)) => answer.map_err(ProbeFailure::Custom),
            Some(Err(error)) => Err(ProbeFailure::Custom(format!("the probe failed: {error}"))),
            None => std::future::pending().await,
        }
    }
}

/// How much of a command's output is told.
const END: usize = 1024;

fn end_of(output: &Output) -> String {
    let text = [output.stdout_text(), output.stderr_text()].concat();
    let text = text.trim();
    let mut start = text.len().saturating_sub(END);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

/// Connects to the first of the addresses that can be.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, ProbeFailure> {
    let mut last = ProbeFailure::io("connect")(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = ProbeFailure::Refused {
                    port: address.port(),
                };
            }
            Err(error) => last = ProbeFailure::io("connect")(error),
        }
    }
    Err(last)
}

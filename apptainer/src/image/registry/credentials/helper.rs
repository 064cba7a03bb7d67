//! Programs that keep credentials, and are asked for them: `docker-credential-NAME get`.
//!
//! They read the server from standard input and answer by JSON on standard output, on which
//! they also say why they fail. The protocol: [docker-credential-helpers].
//!
//! [docker-credential-helpers]: https://github.com/docker/docker-credential-helpers#development

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apptainer_sys::process::{Content, Exit, Session, Spawn, Stdio, sealed_file};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::{Credential, CredentialError, HelperProblem, Secret};
use crate::image::registry::environment::Environment;
use crate::process::{OnDrop, Running, Tail, read_available};

/// How many bytes of an answer are read. The longest tokens have some thousand.
const LIMIT: usize = 256 * 1024;

/// A credential helper that is installed.
#[derive(Debug)]
pub(super) struct Helper {
    program: PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: Secret,
}

/// What it wrote until it ended.
#[derive(Default)]
struct Said {
    stdout: Vec<u8>,
    stderr: Tail,
}

impl Helper {
    /// The helper of this name on `PATH`; `file` is what names it.
    pub(super) fn find(
        name: &str,
        environment: &Environment,
        file: &Path,
    ) -> Result<Self, CredentialError> {
        if name.contains(['/', '\0']) {
            return Err(CredentialError::HelperName {
                path: file.to_owned(),
                name: name.to_owned(),
            });
        }
        let program = format!("docker-credential-{name}");
        let path = environment.get("PATH").unwrap_or_default();
        match on_path(&program, &path) {
            Some(program) => Ok(Self { program }),
            None => Err(CredentialError::HelperMissing {
                path: file.to_owned(),
                program,
            }),
        }
    }

    /// What it has for a server; `None` if that is nothing.
    ///
    /// It has a session of its own, so it cannot ask anybody at the terminal.
    ///
    /// Cancel-safe: it is killed, with all that it started.
    pub(super) async fn get(
        &self,
        server: &str,
        limit: Duration,
    ) -> Result<Option<Credential>, CredentialError> {
        let failed = |problem| CredentialError::Helper {
            program: self.program.clone(),
            server: server.to_owned(),
            problem,
        };
        let mut running = self.start(server).map_err(failed)?;
        let mut said = Said::default();
        let answered = tokio::time::timeout(limit, said.hear(&mut running)).await;
        let answered = answered.unwrap_or(Err(HelperProblem::TimedOut { limit }));
        let exit = match answered {
            Ok(exit) => exit,
            Err(problem) => {
                if let Err(error) = running.kill().await {
                    let program = self.program.display();
                    tracing::warn!(%error, %program, "cannot kill a credential helper");
                }
                return Err(failed(problem));
            }
        };
        said.judge(exit).map_err(failed)
    }

    fn start(&self, server: &str) -> Result<Running, HelperProblem> {
        let mut spawn = Spawn::new(&self.program);
        spawn
            .args(["get"])
            .session(Session::NewSession)
            // Not a pipe: one that it does not read could not be written to.
            .stdin(Stdio::Fd(question(server)?))
            .stdout(Stdio::pipe())
            .stderr(Stdio::pipe());
        Ok(Running::spawn(spawn, OnDrop::Kill)?)
    }
}

/// A file that is read from its beginning.
fn question(server: &str) -> io::Result<OwnedFd> {
    let mut file = fs::File::from(sealed_file(Content::Data, server.as_bytes())?);
    file.rewind()?;
    Ok(file.into())
}

impl Said {
    /// Reads what it writes until it ends.
    async fn hear(&mut self, running: &mut Running) -> Result<Exit, HelperProblem> {
        let [_, stdout, stderr] = running.take_pipes();
        let receiver = |end: Option<OwnedFd>| {
            let end = end.ok_or(io::ErrorKind::BrokenPipe)?;
            Receiver::from_owned_fd(end)
        };
        let (mut stdout, mut stderr) = (receiver(stdout)?, receiver(stderr)?);
        let ended = running.ended()?;
        tokio::select! {
            read = async {
                tokio::try_join!(
                    read_answer(&mut stdout, &mut self.stdout),
                    read_tail(&mut stderr, &self.stderr),
                )
            } => { read?; }
            // What it started may hold the pipes: what is in them is enough.
            ended = ended.wait() => {
                ended?;
                self.stdout.extend(read_available(&stdout));
                self.stderr.push(&read_available(&stderr));
                check_length(&self.stdout)?;
            }
        }
        Ok(running.wait().await?)
    }

    fn judge(&self, exit: Exit) -> Result<Option<Credential>, HelperProblem> {
        /// What every helper says in this case.
        const NOTHING: &str = "credentials not found in native keychain";
        if !exit.success() {
            if String::from_utf8_lossy(&self.stdout).contains(NOTHING) {
                return Ok(None);
            }
            let message = self.complaint();
            return Err(HelperProblem::Failed { exit, message });
        }
        // What the error says quotes the answer.
        let answer: Answer =
            serde_json::from_slice(&self.stdout).map_err(|_| HelperProblem::Answer)?;
        Ok(answer.credential())
    }

    /// Why it failed, as it says itself.
    fn complaint(&self) -> String {
        const LONGEST: usize = 400;
        let stdout = String::from_utf8_lossy(&self.stdout);
        // It may have answered before it failed, and shown its work on the other stream.
        if stdout.contains('{') {
            return String::new();
        }
        let stderr = self.stderr.bytes();
        let stderr = String::from_utf8_lossy(&stderr);
        let said = match stdout.trim() {
            "" => stderr.trim(),
            said => said,
        };
        said.chars().take(LONGEST).collect()
    }
}

impl Answer {
    fn credential(self) -> Option<Credential> {
        if self.username.is_empty() && self.secret.expose().is_empty() {
            return None;
        }
        if self.username == "<token>" {
            return Some(Credential::IdentityToken(self.secret));
        }
        Some(Credential::Basic {
            username: self.username,
            password: self.secret,
        })
    }
}

async fn read_answer(stdout: &mut Receiver, bytes: &mut Vec<u8>) -> Result<(), HelperProblem> {
    while stdout.read_buf(bytes).await? > 0 {
        check_length(bytes)?;
    }
    Ok(())
}

fn check_length(answer: &[u8]) -> Result<(), HelperProblem> {
    if answer.len() > LIMIT {
        return Err(HelperProblem::TooLong { limit: LIMIT });
    }
    Ok(())
}

async fn read_tail(stderr: &mut Receiver, tail: &Tail) -> Result<(), HelperProblem> {
    let mut buffer = vec![0; 4096];
    loop {
        match stderr.read(&mut buffer).await? {
            0 => return Ok(()),
            length => tail.push(&buffer[..length]),
        }
    }
}

/// The program of this name in the first of the directories that has it. What is relative is
/// left out: who runs us decides where helpers are, not where that happens.
fn on_path(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|candidate| {
            let found = fs::metadata(candidate);
            found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
        })
}

#[cfg(test)]
mod tests;

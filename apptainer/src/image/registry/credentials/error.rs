//! Why credentials could not be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::{Exit, SpawnError};

/// There may be credentials, and they could not be had. No secret stands in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Of a user and a password only one is set.
    #[error(
        "use the credentials in the environment: {set} is set and {missing} is not; set both, or neither"
    )]
    VariableMissing {
        /// The variable that is set.
        set: String,
        /// The one that is not.
        missing: String,
    },
    /// A variable is not UTF-8.
    #[error("use the credentials in the environment: {name} is not UTF-8 text; set it again")]
    VariableText {
        /// The variable.
        name: String,
    },
    /// A file cannot be read.
    #[error("read credentials from {}: {source}; make it readable, or name another file", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what Docker writes.
    #[error(
        "read credentials from {}: line {line}, column {column} is not JSON as Docker writes it; mend it, or \
         move the file away and log in again", .path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Where in the file, counted from 1.
        line: usize,
        /// Where in the line, counted from 1.
        column: usize,
    },
    /// An entry has neither a token nor a user with a password.
    #[error(
        "read credentials from {}: the entry {key:?} has no token, no \"auth\" that is base64 of user:password, \
         and no \"username\" with \"password\"; log in again", .path.display()
    )]
    Login {
        /// The file.
        path: PathBuf,
        /// The entry's key.
        key: String,
    },
    /// A helper has a name that no program can have.
    #[error("use the credential helper {name:?} of {}: no program has such a name; correct it there", .path.display())]
    HelperName {
        /// The file that names it.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A helper is not installed.
    #[error(
        "use the credential helper {program} of {}: it is not on PATH; install it, or take it out of that file \
         and log in again", .path.display()
    )]
    HelperMissing {
        /// The file that names it.
        path: PathBuf,
        /// The program.
        program: String,
    },
    /// A helper did not give an answer.
    #[error("ask {} for the credentials for {server}: {problem}", .program.display())]
    Helper {
        /// The program.
        program: PathBuf,
        /// What it was asked for.
        server: String,
        /// What went wrong.
        #[source]
        problem: HelperProblem,
    },
}

/// What went wrong with a credential helper.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperProblem {
    /// It could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It could not be spoken to.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It took too long, and was killed.
    #[error(
        "it gave no answer within {limit:?} and was killed; see whether it waits for somebody to unlock what it keeps"
    )]
    TimedOut {
        /// How long it might take.
        limit: Duration,
    },
    /// It wrote too much, and was killed.
    #[error("it wrote more than {limit} bytes and was killed; no credentials are that long")]
    TooLong {
        /// How much it might write.
        limit: usize,
    },
    /// It failed.
    #[error("it failed ({exit}){}; log in again, or run it by hand with \"get\" to see why", after_colon(.message))]
    Failed {
        /// How it ended.
        exit: Exit,
        /// What it said; empty if that was nothing, or could have been a secret.
        message: String,
    },
    /// It answered something else.
    #[error(
        "its answer is not JSON with Username and Secret; see whether it is a credential helper of Docker's kind"
    )]
    Answer,
}

fn after_colon(message: &str) -> String {
    if message.is_empty() {
        return String::new();
    }
    format!(": {message}")
}

//! Why a registry did not give what it was asked for.

use std::fmt::Write as _;

use crate::image::Platform;

/// A registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// It could not be reached, or broke off.
    #[error("ask {host}: {message}{}", .advice.map(|advice| format!("; {advice}")).unwrap_or_default())]
    Transport {
        /// The server.
        host: String,
        /// Why, with all that led to it.
        message: String,
        /// What to do, where that is known.
        advice: Option<&'static str>,
        /// Whether it could well work a little later.
        may_pass: bool,
    },
    /// It has no such image, tag, digest or file.
    #[error("ask {host}: it has no such image: {message}")]
    NotFound {
        /// The server.
        host: String,
        /// What it said.
        message: String,
    },
    /// It wants a login, or another one.
    #[error(
        "ask {host}: it refuses access: {message}; log in with `apptainer registry login`, or see whether the image is called so"
    )]
    Unauthorized {
        /// The server.
        host: String,
        /// What it said.
        message: String,
    },
    /// It answered with another failure.
    #[error("ask {host}: it answered {status}: {message}")]
    Status {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// It sent something other than what was asked for.
    #[error(
        "fetch {what} from {host}: its digest is {actual}, not {}: the registry, or somebody on the way, sends something else",
        short(.expected)
    )]
    Digest {
        /// The server.
        host: String,
        /// What was asked for.
        what: String,
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// It stopped before the end, or went on after it.
    #[error("fetch {what} from {host}: {actual} bytes came in place of {expected}")]
    Length {
        /// The server.
        host: String,
        /// What was asked for.
        what: String,
        /// How many bytes it should be.
        expected: u64,
        /// How many came.
        actual: u64,
    },
    /// It sends more than such an answer can sensibly have.
    #[error("ask {host}: {what} is larger than {limit} bytes")]
    TooLarge {
        /// The server.
        host: String,
        /// What was asked for.
        what: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },
    /// What it sent cannot be understood.
    #[error("read {what}: {}", short(.reason))]
    Malformed {
        /// What it was to be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is not made of file systems, or of such that Apptainer does not know.
    #[error("use the image: a layer is {:?}, which no container is made of", short(.media_type))]
    MediaType {
        /// What the layer is.
        media_type: String,
    },
    /// The image is not for such machines.
    #[error("use the image: it is not there for {wanted}, only for {}", short(&list(.offered)))]
    NoPlatform {
        /// What was wanted.
        wanted: Platform,
        /// What there is.
        offered: Vec<Platform>,
    },
    /// It wants the password sent where others could read it.
    #[error("log in to {host}: it wants that done without encryption at {}", short(.realm))]
    Insecure {
        /// The server.
        host: String,
        /// Where it wants that done.
        realm: String,
    },
    /// Where its credentials are kept cannot be read.
    #[error(transparent)]
    Credential(#[from] super::CredentialError),
    /// A certificate for it cannot be used.
    #[error(transparent)]
    Certificate(#[from] super::CertificateError),
    /// No connection can be prepared.
    #[error("prepare connections to {host}: {message}")]
    Client {
        /// The server.
        host: String,
        /// Why.
        message: String,
    },
}

impl RegistryError {
    /// Whether there is no such image.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether it wants a login, or another one.
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Unauthorized { .. })
    }

    /// Whether the same may well succeed a little later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Transport { may_pass, .. } => *may_pass,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            // A connection that broke, as far as can be told.
            Self::Length {
                actual, expected, ..
            } => actual < expected,
            _ => false,
        }
    }

    /// Whether the registry could not be asked at all, rather than having answered.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport { .. })
    }
}

/// The beginning of what a server sent: there may be megabytes of it.
pub(super) fn short(text: &str) -> &str {
    const LONGEST: usize = 300;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn list(platforms: &[Platform]) -> String {
    let mut text = String::new();
    for platform in platforms {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}{platform}");
    }
    if text.is_empty() { "none".into() } else { text }
}

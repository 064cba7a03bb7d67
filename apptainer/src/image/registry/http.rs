//! HTTP, with everything that a server sends bounded.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;

use super::RegistryError;
use super::certificates::{self, Certificates};
use super::error::short;
use crate::blocking::blocking;
use crate::image::redact::redacted;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How long it may take until there is a connection.
const CONNECTING: Duration = Duration::from_secs(30);

/// How often an answer may lead elsewhere.
const REDIRECTS: usize = 10;

/// How much of what a server says of a failure is read, and how much of it is shown.
const READ_OF_FAILURE: usize = 64 * 1024;
const SHOWN_OF_FAILURE: usize = 500;

/// What connections to a host are made with.
pub(super) async fn client(
    sources: &certificates::Sources,
    host: &str,
) -> Result<Client, RegistryError> {
    let certificates = certificates::find(sources, host).await?;
    let host = host.to_owned();
    // Reading all certificates of a machine takes a while.
    blocking(move || build(&host, certificates)).await
}

fn build(host: &str, certificates: Certificates) -> Result<Client, RegistryError> {
    let failed = |error: reqwest::Error| RegistryError::Client {
        host: host.to_owned(),
        message: chain(&error, None),
    };
    let mut builder = Client::builder()
        .user_agent(concat!("apptainer-rs/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECTING)
        .read_timeout(SILENCE)
        .redirect(redirects());
    if is_loopback(host) {
        builder = builder.no_proxy();
    }
    for pem in certificates.authorities {
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(failed)?;
        builder = builder.tls_certs_merge(authorities);
    }
    if let Some(pem) = certificates.identity {
        let identity = reqwest::Identity::from_pem(&pem).map_err(failed)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(failed)
}

/// Never from what is encrypted to what is not.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let was_encrypted = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS {
            attempt.error(format!("it redirects more than {REDIRECTS} times"))
        } else if was_encrypted && attempt.url().scheme() != "https" {
            attempt.error("it redirects to where nothing is encrypted")
        } else {
            attempt.follow()
        }
    })
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    };
    let address = name.parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// A connection that could not be made, or broke.
pub(super) fn transport(host: &str, error: &reqwest::Error) -> RegistryError {
    let message = chain(error, error.url());
    let advice = advice(&message);
    let first = error.source();
    let mut sources = std::iter::successors(first, |&error| error.source());
    let broke = sources.any(|source| {
        let kind = source.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(
            kind,
            Some(
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::TimedOut
            )
        )
    });
    let is_ours = error.is_builder() || error.is_redirect();
    let may_pass =
        !is_ours && advice.is_none() && (broke || error.is_timeout() || !error.is_connect());
    RegistryError::Transport {
        host: host.to_owned(),
        message,
        advice,
        may_pass,
    }
}

/// An error with all that led to it, and the URL in it as it may be shown.
fn chain(error: &dyn std::error::Error, url: Option<&Url>) -> String {
    let told = |error: &dyn std::error::Error| match url {
        Some(url) => error
            .to_string()
            .replace(url.as_str(), &redacted(url.as_str())),
        None => error.to_string(),
    };
    let mut text = short(&told(error)).to_owned();
    let mut source = error.source();
    while let Some(error) = source {
        let next = told(error);
        let next = short(&next);
        if !text.contains(next) {
            text.push_str(": ");
            text.push_str(next);
        }
        source = error.source();
    }
    // What a server sends may stand in it.
    text.replace(|letter: char| letter.is_control(), " ")
}

fn advice(message: &str) -> Option<&'static str> {
    // Source: what rustls 0.23, the kernel and hyper-util 0.1 say.
    const HTTP: &str = "it may speak HTTP alone: say so with `http_registry` if that is meant";
    const CERTIFICATE: &str = "name its certificate authority with `certificate_authority`, or see whether it is the right server";
    const UNREACHABLE: &str =
        "see whether that is its name, and whether it can be reached from here";
    const SIGNS: [(&str, &str); 6] = [
        ("InvalidContentType", HTTP),
        ("UnknownIssuer", CERTIFICATE),
        ("NotValidForName", CERTIFICATE),
        ("invalid peer certificate", CERTIFICATE),
        ("Connection refused", UNREACHABLE),
        ("dns error", UNREACHABLE),
    ];
    let sign = SIGNS.iter().find(|(sign, _)| message.contains(sign));
    sign.map(|(_, advice)| *advice)
}

/// The whole of an answer that has so many bytes at most.
pub(super) async fn body(
    host: &str,
    what: &'static str,
    mut response: Response,
    limit: usize,
) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next_chunk(host, &mut response).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(RegistryError::TooLarge {
                host: host.to_owned(),
                what,
                limit,
            });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

pub(super) async fn next_chunk(
    host: &str,
    response: &mut Response,
) -> Result<Option<bytes::Bytes>, RegistryError> {
    let chunk = response.chunk().await;
    chunk.map_err(|error| transport(host, &error))
}

/// What an answer says that is not what was asked for.
pub(super) async fn failure(host: &str, response: Response) -> RegistryError {
    let status = response.status();
    let host = host.to_owned();
    let message = said(&host, response).await;
    match status {
        StatusCode::NOT_FOUND => RegistryError::NotFound { host, message },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            RegistryError::Unauthorized { host, message }
        }
        status => RegistryError::Status {
            host,
            status: status.as_u16(),
            message,
        },
    }
}

/// The beginning of what a server says of a failure.
async fn said(host: &str, mut response: Response) -> String {
    #[derive(Deserialize)]
    struct Failures {
        errors: Vec<Failure>,
    }
    #[derive(Deserialize)]
    struct Failure {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let reason = response.status().canonical_reason().unwrap_or_default();
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = next_chunk(host, &mut response).await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > READ_OF_FAILURE {
            break;
        }
    }
    let text = match serde_json::from_slice::<Failures>(&bytes) {
        Ok(Failures { errors }) if !errors.is_empty() => {
            let errors = errors
                .iter()
                .map(|error| format!("{} {}", error.code, error.message));
            errors.collect::<Vec<_>>().join(", ")
        }
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    };
    let shown = text.chars().filter(|letter| !letter.is_control());
    let shown: String = shown.take(SHOWN_OF_FAILURE).collect();
    match shown.trim() {
        "" => reason.to_owned(),
        shown => shown.to_owned(),
    }
}

/// A URL made of text that is ours.
pub(super) fn url(host: &str, text: &str) -> Result<Url, RegistryError> {
    Url::parse(text).map_err(|error| RegistryError::Client {
        host: host.to_owned(),
        message: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_in_every_form() {
        for host in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:1",
            "[::1]:5000",
            "127.1.2.3",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "example.org",
            "10.0.0.1:5000",
            "[fe80::1]:1",
            "localhost.example.org",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}

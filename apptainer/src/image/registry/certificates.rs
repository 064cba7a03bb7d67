//! Whom one trusts to be a registry, and how one proves to it who one is: the directories
//! `certs.d` of [Podman] and [Docker].
//!
//! A directory is named for a registry, `HOST` or `HOST:PORT`, and in it `*.crt` are
//! certificates of authorities, and `NAME.cert` and `NAME.key` are a client's certificate and
//! its key.
//!
//! They add to the system's authorities, which are reqwest's concern. As of reqwest 0.13.5
//! with its feature `rustls`: on Linux it has rustls-platform-verifier load them with
//! rustls-native-certs, and adds what `add_root_certificate` gave it. Where `SSL_CERT_FILE` or
//! `SSL_CERT_DIR` is set, what they name takes the place of the system's. To build a client
//! fails where there is no authority at all, and where one that was added is not an X.509
//! certificate.
//!
//! [Podman]: https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md
//! [Docker]: https://docs.docker.com/engine/security/certificates/

mod error;
mod pem;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use crate::blocking::blocking;

pub use error::CertificateError;

/// Where to look for certificates.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    /// Files of authorities to trust to be any registry, which must be there.
    pub(super) authorities: Vec<PathBuf>,
    /// Directories with one for each registry. They may be missing.
    pub(super) directories: Vec<PathBuf>,
}

/// What to meet a registry with.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Certificates {
    /// Authorities to trust besides the system's: PEM files, each of one certificate or more,
    /// as `reqwest::Certificate::from_pem_bundle` takes them.
    pub(super) authorities: Vec<Vec<u8>>,
    /// The client's certificate and key: PEM as `reqwest::Identity::from_pem` takes it.
    pub(super) identity: Option<Vec<u8>>,
}

impl Sources {
    /// The usual ones: `containers/certs.d` in `XDG_CONFIG_HOME` or `~/.config`,
    /// `/etc/containers/certs.d`, and `/etc/docker/certs.d`.
    pub(super) fn new(environment: &Environment) -> Self {
        let own = environment.config_home();
        let own = own.map(|config| config.join("containers/certs.d"));
        let common = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
        Self {
            authorities: Vec::new(),
            directories: own.into_iter().chain(common.map(PathBuf::from)).collect(),
        }
    }
}

/// The certificates for a registry, named as in a [reference](crate::image::OciReference).
///
/// Authorities are taken from all directories, and the client's certificate from the first
/// that has one. (Podman reads only the first directory that is there.) Of several the first
/// by name counts.
///
/// Cancel-safe.
pub(super) async fn find(
    sources: &Sources,
    registry: &str,
) -> Result<Certificates, CertificateError> {
    let sources = sources.clone();
    let registry = registry.to_owned();
    blocking(move || find_blocking(&sources, &registry)).await
}

fn find_blocking(sources: &Sources, registry: &str) -> Result<Certificates, CertificateError> {
    let mut found = Certificates::default();
    for path in &sources.authorities {
        found.authorities.push(authorities(path)?);
    }
    for directory in &sources.directories {
        found.add(&directory.join(registry))?;
    }
    Ok(found)
}

impl Certificates {
    fn add(&mut self, directory: &Path) -> Result<(), CertificateError> {
        let files = list(directory)?;
        for path in with_extension(&files, "crt") {
            self.authorities.push(authorities(path)?);
        }
        let missing = |path: &Path, missing| CertificateError::Missing {
            path: path.to_owned(),
            missing,
        };
        for key in with_extension(&files, "key") {
            let certificate = key.with_extension("cert");
            if !files.contains(&certificate) {
                return Err(missing(key, certificate));
            }
        }
        let mut pairs = Vec::new();
        for certificate in with_extension(&files, "cert") {
            let key = certificate.with_extension("key");
            if !files.contains(&key) {
                return Err(missing(certificate, key));
            }
            pairs.push((certificate, key));
        }
        let [(certificate, key), others @ ..] = pairs.as_slice() else {
            return Ok(());
        };
        if !others.is_empty() {
            let path = certificate.display();
            tracing::warn!(%path, "of several certificates for a registry's client this is used");
        }
        if self.identity.is_none() {
            self.identity = Some(identity(certificate, key)?);
        }
        Ok(())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("authorities", &self.authorities.len())
            .field("has_identity", &self.identity.is_some())
            .finish()
    }
}

/// The files of a directory by name; none where there is no such directory, or one that is
/// not for this user.
fn list(directory: &Path) -> Result<Vec<PathBuf>, CertificateError> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        let paths = entries.map(|entry| Ok(entry?.path()));
        paths.collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Ok(mut files) => {
            files.sort();
            Ok(files)
        }
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(Vec::new()),
            // Below /etc it may be there for the system's services alone.
            io::ErrorKind::PermissionDenied => {
                let path = directory.display();
                tracing::debug!(%error, %path, "certificates are not for this user");
                Ok(Vec::new())
            }
            _ => Err(unreadable(directory)(error)),
        },
    }
}

fn with_extension<'a>(files: &'a [PathBuf], extension: &str) -> impl Iterator<Item = &'a Path> {
    let files = files.iter().map(PathBuf::as_path);
    files.filter(move |path| path.extension().is_some_and(|other| other == extension))
}

fn authorities(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let bytes = read(path)?;
    if !pem::has(&bytes, pem::is_certificate) {
        return Err(CertificateError::NoCertificate {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

/// Certificate and key in one, as they are wanted.
fn identity(certificate: &Path, key: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut identity = authorities(certificate)?;
    let bytes = read(key)?;
    if !pem::has(&bytes, pem::is_key) {
        return Err(CertificateError::NoKey {
            path: key.to_owned(),
        });
    }
    identity.push(b'\n');
    identity.extend(bytes);
    Ok(identity)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> CertificateError {
    let path = path.to_owned();
    move |source| CertificateError::Unreadable { path, source }
}

#[cfg(test)]
mod tests;

//! Docker's `config.json`, and what others made of it: `auth.json`, `docker-config.json`.
//!
//! Its form: [`config.json`], [containers-auth.json].
//!
//! [`config.json`]: https://docs.docker.com/reference/cli/docker/login/
//! [containers-auth.json]: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::{Credential, CredentialError, Secret, key};

/// Whether a file must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It was named for this.
    Required,
    /// It is where such files usually are.
    Optional,
}

/// A file of credentials.
#[derive(Debug)]
pub(super) struct AuthFile {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, Option<String>>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Entry {
    auth: Option<Secret>,
    username: Option<String>,
    password: Option<Secret>,
    identitytoken: Option<Secret>,
    registrytoken: Option<Secret>,
}

impl AuthFile {
    /// More than any such file has.
    const LARGEST: u64 = 8 << 20;

    /// Reads it, if it is there. Blocks.
    pub(super) fn read(path: PathBuf, presence: Presence) -> Result<Option<Self>, CredentialError> {
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if presence == Presence::Optional && is_absence(&error) => return Ok(None),
            Err(source) => return Err(CredentialError::File { path, source }),
        };
        if bytes.trim_ascii().is_empty() {
            let content = Content::default();
            return Ok(Some(Self { path, content }));
        }
        match serde_json::from_slice(&bytes) {
            Ok(content) => Ok(Some(Self { path, content })),
            // The rest of the message quotes what stands there, which may be a secret.
            Err(error) => Err(CredentialError::Json {
                path,
                line: error.line(),
                column: error.column(),
            }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The helper for a repository, and what to ask it for.
    pub(super) fn helper<'a>(
        &'a self,
        registry: &'a str,
        repository: &str,
    ) -> Option<(&'a str, &'a str)> {
        let helpers = self.content.helpers.as_ref();
        let own = helpers.and_then(|helpers| key::closest(helpers, registry, repository));
        let (name, server) = match own {
            Some((server, name)) => (name, server),
            None if key::is_docker_hub(registry) => (&self.content.store, key::DOCKER_HUB),
            None => (&self.content.store, registry),
        };
        // An empty name keeps a registry from the common helper.
        let name = name.as_deref().filter(|name| !name.is_empty())?;
        Some((name, server))
    }

    /// What the file itself has for a repository.
    pub(super) fn login(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let entries = self.content.auths.iter().flatten();
        // Docker leaves an empty entry for what its helper has.
        let filled: BTreeMap<_, _> = entries
            .filter_map(|(key, entry)| Some((key.clone(), entry.as_ref()?)))
            .filter(|(_, entry)| !entry.is_empty())
            .collect();
        let Some((key, entry)) = key::closest(&filled, registry, repository) else {
            return Ok(None);
        };
        let credential = entry.credential().ok_or_else(|| CredentialError::Login {
            path: self.path.clone(),
            key: key.to_owned(),
        })?;
        Ok(Some(credential))
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        let is_named = self.username.as_ref().is_some_and(|name| !name.is_empty());
        let secrets = [
            &self.auth,
            &self.password,
            &self.identitytoken,
            &self.registrytoken,
        ];
        !is_named
            && secrets
                .into_iter()
                .all(|secret| filled(secret.as_ref()).is_none())
    }

    /// The most direct of what it has.
    fn credential(&self) -> Option<Credential> {
        if let Some(token) = filled(self.registrytoken.as_ref()) {
            return Some(Credential::RegistryToken(token.clone()));
        }
        if let Some(token) = filled(self.identitytoken.as_ref()) {
            return Some(Credential::IdentityToken(token.clone()));
        }
        let (username, password) = match filled(self.auth.as_ref()) {
            Some(auth) => decode(auth)?,
            None => (self.username.clone()?, self.password.clone()?),
        };
        (!username.is_empty()).then_some(Credential::Basic { username, password })
    }
}

fn filled(secret: Option<&Secret>) -> Option<&Secret> {
    secret.filter(|secret| !secret.expose().is_empty())
}

/// The user and the password in base64 of `user:password`. Old versions of Docker filled it
/// up with NULs.
fn decode(auth: &Secret) -> Option<(String, Secret)> {
    let decoded = BASE64_STANDARD.decode(auth.expose().trim()).ok()?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.trim_matches('\0').into()))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    file.take(AuthFile::LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > AuthFile::LARGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests;

//! Credentials for an Apptainer that talks to a registry itself.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::credentials::{self, Credential, CredentialError};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::image::OciReference;

/// What Apptainer is to be given for a registry.
pub(in crate::image) struct Login {
    registry: String,
    credential: Credential,
}

/// A file of credentials in Docker's format, in a directory of its own. It is gone when this is
/// dropped.
pub(in crate::image) struct LoginFile {
    folder: TempDir,
}

impl Login {
    /// What there is for an image's repository; `None` where that is nothing.
    pub(in crate::image) async fn find(
        client: &Apptainer,
        image: &OciReference,
    ) -> Result<Option<Self>, CredentialError> {
        let sources = client.registries().credentials(client);
        let registry = image.registry().to_owned();
        match credentials::find(&sources, &registry, image.repository()).await {
            Ok(Credential::Anonymous) => Ok(None),
            // Such a file may have come with a home directory from another machine.
            Err(error @ CredentialError::HelperMissing { .. }) => {
                tracing::warn!(%error, "an image is pushed without credentials");
                Ok(None)
            }
            found => found.map(|credential| {
                Some(Self {
                    registry,
                    credential,
                })
            }),
        }
    }

    /// The user and the password, where it is such.
    pub(in crate::image) fn basic(&self) -> Option<(&str, &str)> {
        match &self.credential {
            Credential::Basic { username, password } => Some((username, password.expose())),
            _ => None,
        }
    }

    /// Written for Apptainer to read.
    pub(in crate::image) async fn write(&self) -> io::Result<LoginFile> {
        let content = self.content().to_string();
        blocking(move || {
            let folder = tempfile::tempdir()?;
            let file = LoginFile { folder };
            let mut open = File::options();
            let mut written = open
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(file.path())?;
            written.write_all(content.as_bytes())?;
            Ok(file)
        })
        .await
    }

    fn content(&self) -> Value {
        let key = match self.registry.as_str() {
            OciReference::DOCKER_HUB => credentials::DOCKER_HUB,
            registry => registry,
        };
        let entry = match &self.credential {
            Credential::Anonymous => json!({}),
            Credential::Basic { username, password } => {
                let auth = format!("{username}:{}", password.expose());
                json!({ "auth": BASE64_STANDARD.encode(auth) })
            }
            Credential::IdentityToken(token) => json!({ "identitytoken": token.expose() }),
            Credential::RegistryToken(token) => json!({ "registrytoken": token.expose() }),
        };
        json!({ "auths": { key: entry } })
    }
}

impl LoginFile {
    pub(in crate::image) fn path(&self) -> PathBuf {
        self.folder.path().join("auth.json")
    }
}

//! Where the credentials for a registry come from: from the program, from the environment,
//! from the files of Apptainer, Podman and Docker, and from the helpers that those name.

mod auth_file;
mod error;
mod helper;
mod key;
mod secret;
mod variables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auth_file::{AuthFile, Presence};
use helper::Helper;

use super::environment::Environment;
use crate::blocking::blocking;

pub use error::{CredentialError, HelperProblem};
pub(super) use key::DOCKER_HUB;
pub(super) use secret::Secret;

/// Who one is to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// Nobody.
    Anonymous,
    /// A user with a password, or with what a registry gives out in a password's place.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// What the registry's authorization server gives tokens for: a refresh token of `OAuth2`.
    IdentityToken(Secret),
    /// What the registry itself takes, as a bearer token.
    RegistryToken(Secret),
}

/// Where to look for credentials.
///
/// The first that has some for the repository wins:
///
/// 1. Those [given](Self::given) by the program.
/// 2. `APPTAINER_DOCKER_USERNAME` and `APPTAINER_DOCKER_PASSWORD`, for any registry; then
///    `DOCKER_USERNAME` and `DOCKER_PASSWORD`, for Docker Hub alone; then
///    `SINGULARITY_DOCKER_USERNAME` and `SINGULARITY_DOCKER_PASSWORD`, for any registry.
///    Apptainer 1.4 gives all three to whichever registry it is told to pull from. Of those
///    with its own prefix users expect that. The others are common where programs log in to
///    Docker Hub, and a name that somebody else chose must not carry them elsewhere. Mirrors
///    are given none of them.
/// 3. A file that was named: by the program, or else by `APPTAINER_AUTH_FILE` or
///    `SINGULARITY_AUTH_FILE`. It must be there, and no file is read after it.
/// 4. `docker-config.json` in Apptainer's configuration directory.
/// 5. The file that `REGISTRY_AUTH_FILE` names, which ends the search as well.
/// 6. `containers/auth.json` in `XDG_RUNTIME_DIR`, then in `XDG_CONFIG_HOME` or `~/.config`.
/// 7. `config.json` in `DOCKER_CONFIG` or `~/.docker`.
///
/// In a file, a helper for the registry is asked first (`credHelpers`, else `credsStore`),
/// and what it does not know is looked for among `auths`. Apptainer 1.4 asks no helper.
/// Its own file, where there is one, is the only one it reads.
#[derive(Debug)]
pub(super) struct Sources {
    /// From the program, by registry or namespace: `quay.io`, `quay.io/team`.
    pub(super) given: BTreeMap<String, Credential>,
    /// The file that the program names.
    pub(super) auth_file: Option<PathBuf>,
    /// Apptainer's configuration directory: `~/.apptainer`.
    pub(super) config_dir: Option<PathBuf>,
    /// The variables.
    pub(super) environment: Environment,
    /// Whether credentials in variables count: they do not say whose they are, so nobody is
    /// given them but a registry that a reference names.
    pub(super) has_variables: bool,
    /// How long a helper may take. One that hangs is killed then, which may take four seconds
    /// more.
    pub(super) helper_limit: Duration,
}

impl Sources {
    /// How long a helper may take unless the program says otherwise.
    pub(super) const HELPER_LIMIT: Duration = Duration::from_secs(30);

    /// The usual ones, with Apptainer's files in this directory.
    pub(super) fn new(config_dir: impl Into<PathBuf>) -> Self {
        Self {
            given: BTreeMap::new(),
            auth_file: None,
            config_dir: Some(config_dir.into()),
            environment: Environment::of_this_process(),
            has_variables: true,
            helper_limit: Self::HELPER_LIMIT,
        }
    }

    /// The files to read, in this order, to the first that must be there.
    fn files(&self) -> Vec<(PathBuf, Presence)> {
        let environment = &self.environment;
        let named = |name| environment.get(name).map(PathBuf::from);
        let asked_for = (self.auth_file.clone())
            .or_else(|| named("APPTAINER_AUTH_FILE"))
            .or_else(|| named("SINGULARITY_AUTH_FILE"));
        if let Some(path) = asked_for {
            return vec![(path, Presence::Required)];
        }
        let own = self.config_dir.as_deref();
        let mut files = Vec::new();
        let mut add = |directory: Option<&Path>, file: &str| {
            files.extend(directory.map(|path| (path.join(file), Presence::Optional)));
        };
        add(own, "docker-config.json");
        if let Some(path) = named("REGISTRY_AUTH_FILE") {
            files.push((path, Presence::Required));
            return files;
        }
        let runtime = environment.directory("XDG_RUNTIME_DIR");
        add(runtime.as_deref(), "containers/auth.json");
        add(environment.config_home().as_deref(), "containers/auth.json");
        let home = || Some(environment.directory("HOME")?.join(".docker"));
        let docker = named("DOCKER_CONFIG").or_else(home);
        add(docker.as_deref(), "config.json");
        files
    }
}

/// The credentials for a repository of a registry, both named as in a
/// [reference](crate::image::OciReference); [`Credential::Anonymous`] where there are none.
///
/// Cancel-safe: a helper that is at work is killed, with all that it started.
pub(super) async fn find(
    sources: &Sources,
    registry: &str,
    repository: &str,
) -> Result<Credential, CredentialError> {
    if let Some((_, given)) = key::closest(&sources.given, registry, repository) {
        return Ok(given.clone());
    }
    if sources.has_variables
        && let Some(credential) = variables::login(&sources.environment, registry)?
    {
        tracing::debug!(registry, "credentials are in the environment");
        return Ok(credential);
    }
    for (path, presence) in sources.files() {
        let file = blocking(move || AuthFile::read(path, presence)).await?;
        if let Some(file) = file
            && let Some(credential) = look_in(&file, sources, registry, repository).await?
        {
            tracing::debug!(registry, file = %file.path().display(), "credentials are in a file");
            return Ok(credential);
        }
    }
    Ok(Credential::Anonymous)
}

async fn look_in(
    file: &AuthFile,
    sources: &Sources,
    registry: &str,
    repository: &str,
) -> Result<Option<Credential>, CredentialError> {
    if let Some((name, server)) = file.helper(registry, repository) {
        let helper = Helper::find(name, &sources.environment, file.path())?;
        if let Some(credential) = helper.get(server, sources.helper_limit).await? {
            return Ok(Some(credential));
        }
    }
    file.login(registry, repository)
}

#[cfg(test)]
mod tests;

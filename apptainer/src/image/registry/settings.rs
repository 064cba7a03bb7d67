//! What a program says of registries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::credentials::{Credential, Secret};
use super::environment::Environment;
use super::{certificates, credentials};
use crate::Apptainer;

/// What a program says of registries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) http: Vec<String>,
    /// Registries and what is asked in their place.
    pub(crate) mirrors: Vec<(String, String)>,
    pub(crate) authorities: Vec<PathBuf>,
    pub(crate) auth_file: Option<PathBuf>,
    logins: BTreeMap<String, Credential>,
}

impl Settings {
    pub(crate) fn log_in(&mut self, registry: String, username: String, password: String) {
        let password = Secret::from(password);
        let login = Credential::Basic { username, password };
        self.logins.insert(registry, login);
    }

    /// Whether HTTP is spoken to a registry.
    pub(crate) fn speaks_http(&self, registry: &str) -> bool {
        self.http.iter().any(|host| host == registry)
    }

    /// What is asked before a registry, in this order.
    pub(super) fn mirrors(&self, registry: &str) -> impl Iterator<Item = &str> {
        let of_it = self.mirrors.iter().filter(move |(of, _)| of == registry);
        of_it.map(|(_, mirror)| mirror.as_str())
    }

    pub(super) fn certificates(&self) -> certificates::Sources {
        let mut sources = certificates::Sources::new(&Environment::of_this_process());
        sources.authorities.clone_from(&self.authorities);
        sources
    }

    pub(super) fn credentials(&self, client: &Apptainer) -> credentials::Sources {
        let mut sources = credentials::Sources::new(client.config_dir().path());
        sources.given.clone_from(&self.logins);
        sources.auth_file.clone_from(&self.auth_file);
        sources
    }
}

//! Everything that is wrong with a spec, before anything is started.
//!
//! What Apptainer refuses is said in its place, for it stops at the first. What it takes and
//! then ignores is refused here: whoever asked for it would not learn that they did not get it.

mod alone;
mod caller;
mod exclusions;
mod files;
mod gpus;
mod parts;
mod places;
mod texts;
mod values;

use std::path::{Path, PathBuf};

use apptainer_sys::Version;
use apptainer_sys::command::instance::Start;
use apptainer_sys::command::{ActionOptions, CommandError, Subcommand};

pub(super) use caller::Caller;

use super::error::Findings;
use super::{Spec, SpecError};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::container::Gpus;

/// What is looked at of the host.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) root: PathBuf,
    pub(super) gpus: Gpus,
}

impl Host {
    fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
            gpus: Gpus::probe(),
        }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Spec {
    /// Says everything that is wrong with it: what is not there, what contradicts itself, what
    /// Apptainer would refuse, and what it would silently ignore.
    ///
    /// It looks at the file system of this host and at nothing else. What depends on the
    /// installed Apptainer, and on who calls, is found by [`validate_for`](Self::validate_for),
    /// which comes before every start.
    ///
    /// ```
    /// use apptainer::instance::Spec;
    ///
    /// let spec = Spec::new("docker://redis:7")
    ///     .bind("/not/there", "data")
    ///     .env("A-B", "1");
    /// let error = spec.validate().unwrap_err();
    /// let mut fields: Vec<_> = error.findings.iter().map(|finding| &*finding.field).collect();
    /// fields.sort();
    /// assert_eq!(fields, ["binds[0].destination", "binds[0].source", "env.A-B"]);
    /// ```
    pub fn validate(&self) -> Result<(), SpecError> {
        self.findings(&Host::here(), None).into_result()
    }

    /// The same, and what depends on this Apptainer and on who calls.
    ///
    /// Runs `apptainer` where the answer depends on how it was built. Nothing comes of dropping
    /// the future.
    ///
    /// # Panics
    ///
    /// When called outside of a tokio runtime.
    pub async fn validate_for(&self, client: &Apptainer) -> Result<(), SpecError> {
        let (spec, client) = (self.clone(), client.clone());
        blocking(move || {
            let has_setuid = || {
                let config = client.install().build_config();
                config.is_ok_and(|config| config.is_suid())
            };
            let caller = Caller {
                is_root: nix::unistd::geteuid().is_root(),
                version: client.version(),
                has_setuid: &has_setuid,
            };
            spec.findings(&Host::here(), Some(&caller)).into_result()
        })
        .await
    }

    pub(super) fn findings(&self, host: &Host, caller: Option<&Caller<'_>>) -> Findings {
        let mut findings = Findings::default();
        texts::check(self, &mut findings);
        values::check(self, &mut findings);
        files::check(self, host, &mut findings);
        places::check(self, &mut findings);
        parts::check(self, &mut findings);
        alone::check(self, &mut findings);
        exclusions::check(self, &mut findings);
        gpus::check(self, &host.gpus, &mut findings);
        if let Some(caller) = caller {
            caller::check(self, host, caller, &mut findings);
        }
        if findings.is_empty() {
            // What sys refuses and nothing here has a word for.
            let version = caller.map_or(NEWEST, |caller| caller.version);
            let action = self.settings().action;
            findings.maybe("options", refusal(version, |options| *options = action));
        }
        findings
    }
}

/// Later than any there is.
const NEWEST: Version = Version::new(u16::MAX, 0, 0);

/// Why Apptainer cannot be told this.
fn refusal(version: Version, set: impl FnOnce(&mut ActionOptions)) -> Option<String> {
    let mut start = Start::new("image", "name", [] as [&str; 0]);
    set(&mut start.action);
    match start.check(version).err()? {
        CommandError::Value { reason, .. } => Some(reason.to_owned()),
        error => Some(error.to_string()),
    }
}

/// Why any Apptainer cannot be told this.
fn invalid(set: impl FnOnce(&mut ActionOptions)) -> Option<String> {
    refusal(NEWEST, set)
}

/// Why a path in the container is none.
fn relative(path: &Path) -> Option<String> {
    let problem = "a path in the container has to be absolute";
    (!path.is_absolute()).then(|| problem.to_owned())
}

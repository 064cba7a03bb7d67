//! Instances that are watched, and found again when whoever watched them was killed.

mod agent_file;
mod halter;
mod journal;
mod parts;
mod plan;
mod recover;
mod remnant;
mod room;
mod service;
mod start;
mod watch;
mod watched;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apptainer_sys::process::{Pid, Process};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use self::journal::Journal;
use super::start::generated_name;
use super::{InstanceError, Spec};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::exec::Link;
use crate::folders::make_private_among_others;
use crate::image::hex;

pub(crate) use plan::FillLayer;
pub(super) use plan::Plan;
pub use service::Service;

/// Starts instances, and watches them until they end.
///
/// It notes on disk what it has, so that nothing is lost when its program is killed: the next
/// supervisor of the same name finds its instances again, and [reattaches to them or ends
/// them](Recovery).
///
/// What it notes is for this user's eyes only, and has all that the [`Spec`] says, the values of
/// variables too.
///
/// A handle: cheap to clone. With the last one its instances are killed, and a thread takes away
/// what is left of them; [`shut_down`](Self::shut_down) stops them in order, and
/// [`leave`](Self::leave) leaves them running.
#[derive(Debug, Clone)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Apptainer,
    journal: Arc<Journal>,
    runtime: PathBuf,
    permits: Semaphore,
    services: Mutex<HashMap<String, (Service, AbortHandle)>>,
    /// The names of what was not there any more.
    lost: Mutex<Vec<String>>,
}

/// What becomes of the instances that a supervisor of the same name has left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
#[non_exhaustive]
pub enum Recovery {
    /// They are watched again.
    #[default]
    Reattach,
    /// They are ended.
    Reap,
}

/// Settings of a [`Supervisor`].
#[derive(Debug, Clone)]
#[must_use = "a supervisor is opened by `open`"]
pub struct SupervisorBuilder {
    client: Apptainer,
    name: String,
    concurrency: Option<usize>,
    runtime: Option<PathBuf>,
    recovery: Recovery,
}

impl Apptainer {
    /// A supervisor of this name, of which there is one at a time for a user on a host.
    pub fn supervisor(&self, name: impl Into<String>) -> SupervisorBuilder {
        SupervisorBuilder {
            client: self.clone(),
            name: name.into(),
            concurrency: None,
            runtime: None,
            recovery: Recovery::default(),
        }
    }
}

impl Apptainer {
    /// A supervisor that no other program's may be.
    pub(crate) fn private_supervisor(&self, kind: &str) -> SupervisorBuilder {
        self.supervisor(format!("{kind}-{}", generated_name()))
    }
}

impl SupervisorBuilder {
    /// How many instances are started at the same time: twice as many as there are processors
    /// otherwise, and four at least. More wait for their turn.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = Some(most.max(1));
        self
    }

    /// Where instances have sockets and temporary layers: a folder of this node's, which nobody
    /// else may enter, and which is made where it is not there. `apptainer-rs-UID` in the
    /// directory for temporary files otherwise.
    pub fn runtime_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime = Some(path.into());
        self
    }

    /// What becomes of the instances that a supervisor of the same name has left behind.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Opens it, and looks after what its predecessor has left.
    ///
    /// Dropping the future leaves what it has found as it is.
    pub async fn open(self) -> Result<Supervisor, InstanceError> {
        let recovery = self.recovery;
        let name = self.name.clone();
        let opened = blocking(move || self.open_blocking()).await;
        let supervisor = opened?.ok_or(InstanceError::SupervisorRuns { name })?;
        // Until this is done, what has been found is left as it is if it goes wrong.
        let opening = Opening(Some(supervisor));
        opening.recover(recovery).await
    }

    /// `None` where there is one of this name.
    fn open_blocking(self) -> Result<Option<Supervisor>, InstanceError> {
        if !apptainer_sys::state::instance::is_valid_name(&self.name) {
            return Err(InstanceError::InvalidName { name: self.name });
        }
        let failed = |source| InstanceError::Supervisor {
            name: self.name.clone(),
            source,
        };
        let Some(journal) = Journal::open(self.client.config_dir(), &self.name).map_err(failed)?
        else {
            return Ok(None);
        };
        let runtime = self.runtime.map(std::path::absolute).transpose();
        let runtime = match runtime.map_err(failed)? {
            Some(runtime) => runtime,
            None => default_runtime(&self.client),
        };
        make_runtime(&runtime)?;
        Ok(Some(Supervisor {
            inner: Arc::new(Inner {
                client: self.client,
                journal: Arc::new(journal),
                runtime,
                permits: Semaphore::new(self.concurrency.unwrap_or_else(default_concurrency)),
                services: Mutex::default(),
                lost: Mutex::default(),
            }),
        }))
    }
}

impl Supervisor {
    /// Starts an instance, and returns when its payload has begun: whether it is
    /// [ready](Service::ready) is another thing.
    ///
    /// Everything that is wrong with its description is said at once, before anything is started.
    /// Where more are being started than [may be](SupervisorBuilder::concurrency) it waits for its
    /// turn. On failure nothing of it is left, and the error has the end of what it wrote.
    ///
    /// Dropping the future ends what has been started.
    pub async fn start(&self, spec: &Spec) -> Result<Service, InstanceError> {
        let plan = self.plan(spec).await?;
        self.start_planned(&plan).await
    }

    /// Starts an instance whose temporary layer is filled by `fill` before anything runs.
    pub(crate) async fn start_filled(
        &self,
        spec: &Spec,
        fill: Arc<FillLayer>,
    ) -> Result<Service, InstanceError> {
        let plan = self.plan(spec).await?.filled(fill);
        self.start_planned(&plan).await
    }

    /// What instances of this description are started by.
    pub(super) async fn plan(&self, spec: &Spec) -> Result<Plan, InstanceError> {
        spec.plan(self.client()).await
    }

    /// Starts an instance whose description has been found to hold.
    pub(super) async fn start_planned(&self, plan: &Plan) -> Result<Service, InstanceError> {
        let permit = self.inner.permits.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        Box::pin(self.start_plan(plan)).await
    }

    /// The instances that are watched, by name.
    pub fn services(&self) -> Vec<Service> {
        let services = self.services_by_name();
        let mut services: Vec<_> = services
            .values()
            .map(|(service, _)| service.clone())
            .collect();
        services.sort_by(|one, other| one.name().cmp(other.name()));
        services
    }

    /// The instance of this name, if it is watched.
    pub fn service(&self, name: impl AsRef<str>) -> Option<Service> {
        let services = self.services_by_name();
        Some(services.get(name.as_ref())?.0.clone())
    }

    /// Stops all instances, at the same time, and waits until nothing is left of them; but not those
    /// that it only watches because it [adopted](Self::adopt) them. The first error is returned when
    /// all have been tried.
    pub async fn shut_down(self) -> Result<(), InstanceError> {
        let stopping = self.services().into_iter();
        let stopping: Vec<_> = stopping
            .map(|service| tokio::spawn(async move { service.end_with_supervisor().await }))
            .collect();
        let mut result = Ok(());
        for stopped in stopping {
            match stopped.await {
                Ok(stopped) => result = result.and(stopped),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        result
    }

    /// The names of the instances that a supervisor of this name had left, and that were not there
    /// any more, or could not be watched again, when this one was opened.
    pub fn lost(&self) -> Vec<String> {
        let lost = self.inner.lost.lock();
        lost.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_lost(&self, name: &str) {
        let lost = self.inner.lost.lock();
        let mut lost = lost.unwrap_or_else(PoisonError::into_inner);
        lost.push(name.to_owned());
    }

    /// Leaves all instances running, for the next supervisor of this name to find.
    pub async fn leave(self) {
        for service in self.services() {
            service.leave().await;
        }
    }

    fn client(&self) -> &Apptainer {
        &self.inner.client
    }

    fn journal(&self) -> &Arc<Journal> {
        &self.inner.journal
    }

    fn runtime(&self) -> &Path {
        &self.inner.runtime
    }

    fn services_by_name(&self) -> MutexGuard<'_, HashMap<String, (Service, AbortHandle)>> {
        let services = self.inner.services.lock();
        let mut services = services.unwrap_or_else(PoisonError::into_inner);
        services.retain(|_, (service, _)| !service.state().is_final());
        services
    }

    /// Has it among those that are watched.
    fn take_in(&self, service: &Service, task: AbortHandle) {
        let name = service.name().to_owned();
        self.services_by_name()
            .insert(name, (service.clone(), task));
    }

    /// What has those forgotten that have ended, so that nothing is held for them. It keeps no
    /// supervisor.
    fn forgetting(&self) -> impl FnOnce() + Send + use<> {
        let inner = Arc::downgrade(&self.inner);
        move || {
            if let Some(inner) = inner.upgrade() {
                drop(Self { inner }.services_by_name());
            }
        }
    }
}

/// A supervisor that is being opened. Dropped, it leaves what it has found.
struct Opening(Option<Supervisor>);

impl Opening {
    async fn recover(mut self, recovery: Recovery) -> Result<Supervisor, InstanceError> {
        let supervisor = self.0.clone().expect("it is given up last");
        supervisor.recover(recovery).await?;
        self.0 = None;
        Ok(supervisor)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(supervisor) = &self.0 {
            for (service, _) in std::mem::take(&mut *supervisor.services_by_name()).into_values() {
                service.begin_to_leave();
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let services = self.services.get_mut();
        let services = services.unwrap_or_else(PoisonError::into_inner);
        for (_, task) in services.values() {
            // Whoever watches it has it killed.
            task.abort();
        }
    }
}

/// Sees to it that the folder is there, and that nobody else may enter it.
fn make_runtime(runtime: &Path) -> Result<(), InstanceError> {
    let own = default_parent();
    // Who may write to the folder that it is in could put another in its place.
    let parent = Some(own.as_path()).filter(|own| runtime.starts_with(own));
    for folder in parent.into_iter().chain([runtime]) {
        let made = make_private_among_others(folder);
        let is_private = made.map_err(|source| InstanceError::Supervisor {
            name: folder.display().to_string(),
            source,
        })?;
        if !is_private {
            return Err(InstanceError::NotPrivate {
                path: folder.to_owned(),
            });
        }
    }
    Ok(())
}

fn default_concurrency() -> usize {
    let processors = std::thread::available_parallelism();
    processors.map_or(4, |count| (2 * count.get()).max(4))
}

/// What this user has on this node.
fn default_parent() -> PathBuf {
    let user = nix::unistd::geteuid();
    std::env::temp_dir().join(format!("apptainer-rs-{user}"))
}

/// Of this user, and of instances below this client's configuration.
fn default_runtime(client: &Apptainer) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let config = client.config_dir().path().as_os_str();
    let digest = Sha256::digest(config.as_bytes());
    let digest = hex(&digest[..4]);
    default_parent().join(digest)
}

/// Which process an agent is on the host, by its pid and its start.
fn agent(link: &Link) -> io::Result<Option<(Pid, u64)>> {
    let Some(pid) = link.pid() else {
        return Ok(None);
    };
    let process = Process::read(pid)?;
    Ok(process.map(|process| (pid, process.started)))
}

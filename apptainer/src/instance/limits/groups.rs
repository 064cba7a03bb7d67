//! Cgroups around an instance.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use apptainer_sys::cgroup::{Cgroup, CgroupError, Controller};
use serde::{Deserialize, Serialize};

use super::LimitError;

/// How long what is in a group may take to end, or a group to go away.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the names of our groups begin with.
const PREFIX: &str = "apptainer-rs-";

/// The groups around one instance. Version 2 asks that the outer one have no processes of
/// its own. The programs of Apptainer are apart, so that they go on while the payload is
/// frozen, and are not killed for its want of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Groups {
    /// Around both.
    outer: Cgroup,
    /// The master, and the programs that serve images.
    pub(super) programs: Cgroup,
    /// All that is in the container.
    pub(super) payload: Cgroup,
}

/// Where the groups around one instance are made, and what they are called: known before they
/// are there, so that whoever comes later finds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::instance) struct Site {
    /// The caller's own group.
    current: Cgroup,
    /// Theirs alone.
    name: String,
}

impl Site {
    /// For an instance of this name; `None` where there are no groups.
    pub(in crate::instance) fn choose(name: &str) -> Result<Option<Self>, LimitError> {
        match Cgroup::current() {
            Err(CgroupError::NotVisible { .. }) => Ok(None),
            Err(error) => Err(error.into()),
            Ok(current) => Ok(Some(Self {
                current,
                name: unique(name),
            })),
        }
    }

    /// Ends what is in the groups that were made here, and removes them. Blocks for a while.
    pub(in crate::instance) fn clear(&self) -> Result<(), LimitError> {
        let around = self.current.parent();
        for parent in [Some(&self.current), around.as_ref()].into_iter().flatten() {
            if let Some(outer) = parent.child(&self.name) {
                let groups = Groups::left(outer);
                groups.kill()?;
                groups.remove()?;
            }
        }
        Ok(())
    }

    /// Makes them where the caller may; `None` where it may not.
    ///
    /// The caller's own group is the place for them, or the one around it: it is a delegated
    /// one that has no processes, where version 2 gives no controllers to groups in the
    /// caller's. With neither, groups without controllers are better than none.
    pub(super) fn make(&self, controllers: &[Controller]) -> Result<Option<Groups>, CgroupError> {
        let around = self.current.parent();
        let attempts = [
            (Some(&self.current), controllers),
            (around.as_ref(), controllers),
            (Some(&self.current), &[]),
        ];
        for (parent, controllers) in attempts {
            let Some(parent) = parent else { continue };
            match Groups::make_in(parent, &self.name, controllers) {
                Ok(groups) => return Ok(Some(groups)),
                Err(error) if is_refusal(&error) => {
                    tracing::debug!(%error, "no cgroup there");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

impl Groups {
    /// Those that somebody has made, or begun to make.
    fn left(outer: Cgroup) -> Self {
        let inner = |name| outer.child(name).unwrap_or_else(|| outer.clone());
        Self {
            programs: inner("programs"),
            payload: inner("payload"),
            outer,
        }
    }

    fn make_in(
        parent: &Cgroup,
        name: &str,
        controllers: &[Controller],
    ) -> Result<Self, CgroupError> {
        let outer = parent.create(name, controllers)?;
        let inner = || {
            let programs = outer.create("programs", controllers)?;
            let payload = outer.create("payload", controllers)?;
            Ok((programs, payload))
        };
        match inner() {
            Ok((programs, payload)) => Ok(Self {
                outer,
                programs,
                payload,
            }),
            Err(error) => {
                let _ = outer.remove();
                Err(error)
            }
        }
    }

    /// Whether they are there, and ours by their names.
    pub(super) fn are_there(&self) -> bool {
        let mut folders = self.outer.folders().peekable();
        folders.peek().is_some()
            && folders.all(|folder| {
                let name = folder.file_name().and_then(|name| name.to_str());
                let is_ours = name.is_some_and(|name| name.starts_with(PREFIX));
                is_ours && folder.join("payload/cgroup.procs").exists()
            })
    }

    /// Ends all that is in them, and waits for that.
    pub(super) fn kill(&self) -> Result<(), CgroupError> {
        // What is frozen by itself stays so when what is around it is thawed.
        if self.payload.is_frozen().unwrap_or(false) {
            self.payload.thaw()?;
        }
        self.outer.kill(PATIENCE).map(|_| ())
    }

    /// Removes them once nothing is in them, for which it waits a while.
    pub(super) fn remove(&self) -> Result<(), CgroupError> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match self.outer.remove() {
                Err(error) if is_busy(&error) && started.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                removed => return removed,
            }
        }
    }
}

/// A name that no other group has: instances of different users, or configurations, may have
/// the same.
fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    // Names of files have at most 255 bytes; those of instances are ASCII.
    let name: String = name.chars().take(180).collect();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let since = now.map_or(0, |since| since.as_micros());
    format!("{PREFIX}{name}-{}-{since:x}-{count}", std::process::id())
}

/// Whether another place may be better.
fn is_refusal(error: &CgroupError) -> bool {
    matches!(
        error,
        CgroupError::NotDelegated { .. } | CgroupError::HasProcesses { .. }
    )
}

fn is_busy(error: &CgroupError) -> bool {
    matches!(error, CgroupError::Io { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
}

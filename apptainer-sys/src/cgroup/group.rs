//! A group, and the processes in it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::hierarchy::{self, Place};
use super::{CgroupError, Controller, Version, file};
use crate::process::{Pid, Placement};

/// A group: a directory in each hierarchy that it is part of.
///
/// It is a name, not a handle: dropping it changes nothing, and the group may be
/// gone when it is used. It can be written down and read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// In version 2's hierarchy.
    pub(super) unified: Option<PathBuf>,
    /// In version 1's hierarchies.
    pub(super) legacy: Vec<Legacy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Legacy {
    pub(super) controllers: Vec<Controller>,
    pub(super) folder: PathBuf,
}

/// How something was done to all processes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// By the kernel, told so once: version 2's `cgroup.kill`, of Linux 5.14.
    CgroupKill,
    /// With version 2's freezer, `cgroup.freeze`, of Linux 5.2.
    FreezerV2,
    /// With version 1's freezer.
    FreezerV1,
    /// By signals, until nobody is left. What forks faster than it is signalled
    /// can escape for as long as it does.
    Signals,
}

impl Cgroup {
    pub(super) const fn nowhere() -> Self {
        Self {
            unified: None,
            legacy: Vec::new(),
        }
    }

    /// The group that the calling process is in.
    pub fn current() -> Result<Self, CgroupError> {
        Self::of_process(nix::unistd::getpid().as_raw())
    }

    /// The group that a process is in.
    pub fn of_process(pid: Pid) -> Result<Self, CgroupError> {
        let places = hierarchy::places(pid).map_err(|source| CgroupError::Io {
            doing: "read",
            path: format!("/proc/{pid}/cgroup").into(),
            source,
        })?;
        if places.is_empty() {
            return Err(CgroupError::NotVisible { pid });
        }
        let mut group = Self::nowhere();
        for Place {
            version,
            controllers,
            folder,
        } in places
        {
            match version {
                Version::V1 => group.legacy.push(Legacy {
                    controllers,
                    folder,
                }),
                Version::V2 => group.unified = Some(folder),
            }
        }
        Ok(group)
    }

    /// The group of this name in it, if there is one in any hierarchy.
    pub fn child(&self, name: &str) -> Option<Self> {
        let group = self.map(|folder| Some(folder.join(name)).filter(|folder| folder.is_dir()));
        (group != Self::nowhere()).then_some(group)
    }

    /// The names of the groups in it.
    pub fn children(&self) -> Result<Vec<String>, CgroupError> {
        let mut names = Vec::new();
        for folder in self.folders() {
            let names_of = |child: PathBuf| child.file_name()?.to_str().map(str::to_owned);
            names.extend(subfolders(folder)?.into_iter().filter_map(names_of));
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The group that it is in; `None` for what is the root of every hierarchy, as
    /// far as can be seen from here.
    pub fn parent(&self) -> Option<Self> {
        let group = self.map(|folder| {
            let parent = folder.parent()?;
            parent
                .join("cgroup.procs")
                .exists()
                .then(|| parent.to_owned())
        });
        (group != Self::nowhere()).then_some(group)
    }

    /// What of it is not around `other` as well: the directories that `other` is neither in
    /// nor below. A process that was moved in some hierarchies only has the rest in common
    /// with others. `None` when nothing is left.
    pub fn apart_from(&self, other: &Self) -> Option<Self> {
        let group = self.map(|folder| {
            let is_shared = other.folders().any(|inner| inner.starts_with(folder));
            (!is_shared).then(|| folder.to_owned())
        });
        (group != Self::nowhere()).then_some(group)
    }

    /// The group whose directories are those of this one, changed.
    fn map(&self, change: impl Fn(&Path) -> Option<PathBuf>) -> Self {
        let legacy = self.legacy.iter().filter_map(|legacy| {
            Some(Legacy {
                controllers: legacy.controllers.clone(),
                folder: change(&legacy.folder)?,
            })
        });
        Self {
            unified: self.unified().and_then(&change),
            legacy: legacy.collect(),
        }
    }

    /// Its directory in version 2's hierarchy.
    pub fn unified(&self) -> Option<&Path> {
        self.unified.as_deref()
    }

    /// Its directory in the hierarchy of version 1 that has this controller.
    pub fn legacy(&self, controller: Controller) -> Option<&Path> {
        let mut legacy = self.legacy.iter();
        legacy
            .find(|legacy| legacy.controllers.contains(&controller))
            .map(|legacy| legacy.folder.as_path())
    }

    /// Which version controls this resource in it; `None` if neither does.
    pub fn version(&self, controller: Controller) -> Result<Option<Version>, CgroupError> {
        Ok(self.control(controller)?.map(|(version, _)| version))
    }

    /// The same, with the directory that has the controller's files.
    pub(super) fn control(
        &self,
        controller: Controller,
    ) -> Result<Option<(Version, &Path)>, CgroupError> {
        if let Some(folder) = self.legacy(controller) {
            return Ok(Some((Version::V1, folder)));
        }
        let (Some(folder), Some(name)) = (self.unified(), controller.name(Version::V2)) else {
            return Ok(None);
        };
        let enabled = file::read(folder, "cgroup.controllers")?;
        let is_enabled = enabled.split_whitespace().any(|enabled| enabled == name);
        Ok(is_enabled.then_some((Version::V2, folder)))
    }

    pub(super) fn lacks(&self, controller: Controller) -> CgroupError {
        CgroupError::NoController {
            controller,
            path: self.path().to_owned(),
        }
    }

    /// A directory of it, to name it by.
    pub(super) fn path(&self) -> &Path {
        self.folders().next().unwrap_or(Path::new("/"))
    }

    /// All of its directories, that of version 2 first.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let legacy = self.legacy.iter().map(|legacy| legacy.folder.as_path());
        self.unified().into_iter().chain(legacy)
    }

    /// What a [`Spawn`](crate::process::Spawn) needs to start a process in it.
    ///
    /// Fails while it is frozen, for the caller would stand still with the process.
    pub fn placement(&self) -> Result<Placement, CgroupError> {
        let is_frozen = self.best_freezer().is_some() && self.is_frozen()?;
        if is_frozen {
            return Err(CgroupError::Frozen {
                path: self.path().to_owned(),
            });
        }
        let unified = match self.unified() {
            Some(folder) => Some((open_folder(folder)?, open_members(folder)?)),
            None => None,
        };
        let legacy = self.legacy.iter();
        let legacy = legacy.map(|legacy| open_members(&legacy.folder));
        let has_cpuset = self.legacy(Controller::CpuSet).is_some();
        let legacy = legacy.collect::<Result<_, _>>()?;
        Ok(Placement::new(unified, legacy, has_cpuset))
    }

    /// Moves a process to it, with all of its threads. What it has started before
    /// stays where it is.
    pub fn add(&self, pid: Pid) -> Result<(), CgroupError> {
        self.folders()
            .try_for_each(|folder| file::write(folder, "cgroup.procs", &pid.to_string()))
    }

    /// Moves its own processes, not those of the groups below it, to another group,
    /// in version 2's hierarchy.
    ///
    /// A group that gives controllers to its children there may have none of its
    /// own, so a program that manages groups in its own first moves itself, and
    /// what else is there, to one below:
    ///
    /// ```no_run
    /// # use apptainer_sys::cgroup::{Cgroup, Controller};
    /// let ours = Cgroup::current()?;
    /// ours.move_processes(&ours.create("main", &[])?)?;
    /// let job = ours.create("job-7", &[Controller::Memory])?;
    /// # Ok::<(), apptainer_sys::cgroup::CgroupError>(())
    /// ```
    pub fn move_processes(&self, to: &Self) -> Result<(), CgroupError> {
        // Each round moves all that there are; only what forks meanwhile is left.
        const ROUNDS: usize = 64;
        let (Some(from), Some(to)) = (self.unified(), to.unified()) else {
            return Ok(());
        };
        for _ in 0..ROUNDS {
            let pids = members(from)?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in pids {
                match file::write(to, "cgroup.procs", &pid.to_string()) {
                    // It has ended.
                    Err(CgroupError::Io { source, .. })
                        if source.raw_os_error() == Some(libc::ESRCH) => {}
                    moved => moved?,
                }
            }
        }
        Err(CgroupError::HasProcesses {
            path: from.to_owned(),
        })
    }

    /// The processes in it and in the groups below it, in any hierarchy.
    ///
    /// What another program has moved on to a group of its own is not among them:
    /// so does `apptainer` with a container that it is itself told to limit.
    pub fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        for folder in self.folders() {
            collect_processes(folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether there is a process in it or in the groups below it, in any
    /// hierarchy.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        if let Some(folder) = self.unified() {
            let events = file::Keyed::read(folder, "cgroup.events")?;
            if events.and_then(|events| events.get("populated")) == Some(1) {
                return Ok(true);
            }
        }
        Ok(!self.processes()?.is_empty())
    }

    /// Refuses what would be done to the calling process too.
    pub(super) fn check_caller(&self, doing: &'static str) -> Result<(), CgroupError> {
        match Self::current() {
            Ok(caller) if caller.is_within(self) => Err(CgroupError::HoldsCaller {
                doing,
                path: self.path().to_owned(),
            }),
            // One that cannot be seen from here is not in what can be.
            Ok(_) | Err(CgroupError::NotVisible { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether it is the other one, or below it, in any hierarchy.
    fn is_within(&self, other: &Self) -> bool {
        self.folders()
            .any(|inner| other.folders().any(|outer| inner.starts_with(outer)))
    }
}

fn open_folder(folder: &Path) -> Result<OwnedFd, CgroupError> {
    let mut options = fs::File::options();
    let options = options.read(true).custom_flags(libc::O_DIRECTORY);
    open(options, folder.to_owned())
}

fn open_members(folder: &Path) -> Result<OwnedFd, CgroupError> {
    open(fs::File::options().write(true), folder.join("cgroup.procs"))
}

fn open(options: &fs::OpenOptions, path: PathBuf) -> Result<OwnedFd, CgroupError> {
    match options.open(&path) {
        Ok(file) => Ok(file.into()),
        Err(source) => Err(CgroupError::Io {
            doing: "open",
            path,
            source,
        }),
    }
}

/// The processes of one directory; none when it is gone.
pub(super) fn members(folder: &Path) -> Result<Vec<Pid>, CgroupError> {
    let members = match file::read_if_there(folder, "cgroup.procs") {
        // A group of threads: their processes are in the group above.
        Err(CgroupError::Io { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            None
        }
        members => members?,
    };
    let members = members.unwrap_or_default();
    let pids = members
        .lines()
        .filter_map(|line| line.parse::<Pid>().ok())
        // Processes of another PID namespace have the number 0.
        .filter(|pid| *pid > 0);
    Ok(pids.collect())
}

fn collect_processes(folder: &Path, pids: &mut Vec<Pid>) -> Result<(), CgroupError> {
    pids.extend(members(folder)?);
    subfolders(folder)?
        .iter()
        .try_for_each(|child| collect_processes(child, pids))
}

/// The directories in one; none when it is gone.
pub(super) fn subfolders(folder: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let failed = |source| CgroupError::Io {
        doing: "list",
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

//! A group, and the processes in it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::hierarchy::{self, Place};
use super::{CgroupError, Controller, Version, file};
use crate::process::{Pid, Placement};

/// A group: a directory in each hierarchy that it is part of.
///
/// It is a name, not a handle: dropping it changes nothing, and the group may be
/// gone when it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// In version 2's hierarchy.
    pub(super) unified: Option<PathBuf>,
    /// In version 1's hierarchies.
    legacy: Vec<Legacy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Legacy {
    controllers: Vec<Controller>,
    folder: PathBuf,
}

/// How something was done to all processes of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mechanism {
    /// By the kernel, told so once: version 2's `cgroup.kill`, of Linux 5.14.
    Kill,
    /// With version 2's freezer.
    Freeze,
    /// With version 1's freezer.
    Freezer,
    /// By signals, until nobody is left. What forks faster than it is signalled
    /// can escape for as long as it does.
    Signals,
}

/// What the calling process may do in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegation {
    /// Whether it may make groups in version 2's hierarchy, and move processes to
    /// them.
    pub unified: bool,
    /// The controllers that groups made there can have. Those of version 2 are
    /// withheld from a group's children while it has processes of its own.
    pub controllers: Vec<(Controller, Version)>,
}

impl Cgroup {
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
        let mut group = Self {
            unified: None,
            legacy: Vec::new(),
        };
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

    /// A directory of it, to name it by.
    pub(super) fn path(&self) -> &Path {
        let mut legacy = self.legacy.iter().map(|legacy| legacy.folder.as_path());
        self.unified()
            .or_else(|| legacy.next())
            .unwrap_or(Path::new("/"))
    }

    /// All of its directories, that of version 2 first.
    fn folders(&self) -> impl Iterator<Item = &Path> {
        let legacy = self.legacy.iter().map(|legacy| legacy.folder.as_path());
        self.unified().into_iter().chain(legacy)
    }

    /// What the calling process may do in it.
    pub fn delegation(&self) -> Result<Delegation, CgroupError> {
        let unified = self.unified().is_some_and(|folder| {
            is_writable(folder)
                && is_writable(&folder.join("cgroup.procs"))
                && is_writable(&folder.join("cgroup.subtree_control"))
        });
        let mut controllers = Vec::new();
        for controller in Controller::ALL {
            let Some((version, folder)) = self.control(controller)? else {
                continue;
            };
            let is_delegated = match version {
                Version::V1 => is_writable(folder),
                Version::V2 => unified,
            };
            if is_delegated {
                controllers.push((controller, version));
            }
        }
        Ok(Delegation {
            unified,
            controllers,
        })
    }

    /// Makes a group in this one, to control these resources.
    ///
    /// It has a place in version 2's hierarchy, in that of version 1's freezer, and
    /// in those of the controllers, as far as they are there and delegated to the
    /// caller. What it lacks then, [`version`](Self::version) tells, and setting a
    /// limit. With a place nowhere, or one that is taken, this fails and leaves
    /// nothing.
    pub fn create(&self, name: &str, controllers: &[Controller]) -> Result<Self, CgroupError> {
        let is_file_name = !name.is_empty() && !name.contains(['/', '\0']);
        if !is_file_name || [".", ".."].contains(&name) || name.starts_with("cgroup.") {
            return Err(CgroupError::InvalidName {
                name: name.to_owned(),
            });
        }
        let mut group = Self {
            unified: None,
            legacy: Vec::new(),
        };
        let made = self.create_in_each(name, controllers, &mut group);
        match made {
            Ok(Some(refusal)) if group.folders().next().is_none() => Err(refusal),
            Ok(_) => Ok(group),
            Err(error) => {
                let _ = group.remove();
                Err(error)
            }
        }
    }

    /// Adds to `group` what was made; returns the last refusal, if there was one.
    fn create_in_each(
        &self,
        name: &str,
        controllers: &[Controller],
        group: &mut Self,
    ) -> Result<Option<CgroupError>, CgroupError> {
        let mut refusal = Some(CgroupError::NotDelegated {
            path: self.path().to_owned(),
            source: io::ErrorKind::NotFound.into(),
        });
        if let Some(parent) = self.unified() {
            enable(parent, controllers)?;
            match make(parent, name)? {
                Ok(folder) => group.unified = Some(folder),
                Err(refused) => refusal = Some(refused),
            }
        }
        for legacy in &self.legacy {
            let mut offered = legacy.controllers.iter();
            let is_wanted = offered.any(|offered| {
                // What counts CPU time is wanted with what controls it.
                let wanted = match offered {
                    Controller::CpuAcct => &Controller::Cpu,
                    other => other,
                };
                *offered == Controller::Freezer || controllers.contains(wanted)
            });
            if !is_wanted {
                continue;
            }
            match make(&legacy.folder, name)? {
                Ok(folder) => {
                    group.legacy.push(Legacy {
                        controllers: legacy.controllers.clone(),
                        folder,
                    });
                }
                Err(refused) => refusal = Some(refused),
            }
        }
        if let Some(folder) = group.legacy(Controller::CpuSet) {
            inherit_cpuset(folder)?;
        }
        Ok(refusal)
    }

    /// What a [`Spawn`](crate::process::Spawn) needs to start a process in it.
    pub fn placement(&self) -> Result<Placement, CgroupError> {
        let unified = match self.unified() {
            Some(folder) => Some((open_folder(folder)?, open_members(folder)?)),
            None => None,
        };
        let legacy = self.legacy.iter();
        let legacy = legacy.map(|legacy| open_members(&legacy.folder));
        Ok(Placement::new(unified, legacy.collect::<Result<_, _>>()?))
    }

    /// Moves a process to it, with all of its threads. What it has started before
    /// stays where it is.
    pub fn add(&self, pid: Pid) -> Result<(), CgroupError> {
        self.folders()
            .try_for_each(|folder| file::write(folder, "cgroup.procs", &pid.to_string()))
    }

    /// The processes in it, and in the groups below it.
    pub fn processes(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        if let Some(folder) = self.folders().next() {
            collect_processes(folder, &mut pids)?;
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Whether there is a process in it, or in the groups below it.
    pub fn is_populated(&self) -> Result<bool, CgroupError> {
        match self.unified() {
            Some(folder) => {
                let events = file::Keyed::read(folder, "cgroup.events")?;
                match events.and_then(|events| events.get("populated")) {
                    Some(populated) => Ok(populated == 1),
                    // The root of the hierarchy does not say; it is never empty.
                    None => Ok(folder.exists()),
                }
            }
            None => Ok(!self.processes()?.is_empty()),
        }
    }

    /// Refuses what would be done to the calling process too.
    pub(super) fn check_caller(&self, doing: &'static str) -> Result<(), CgroupError> {
        if Self::current()?.is_within(self) {
            return Err(CgroupError::HoldsCaller {
                doing,
                path: self.path().to_owned(),
            });
        }
        Ok(())
    }

    /// Whether it is the other one, or below it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.folders()
            .any(|inner| other.folders().any(|outer| inner.starts_with(outer)))
    }

    pub(super) fn lacks(&self, controller: Controller) -> CgroupError {
        CgroupError::NoController {
            controller,
            path: self.path().to_owned(),
        }
    }

    /// Removes it, and the groups below it. That it is gone already is no error.
    ///
    /// Fails with `EBUSY` while there are processes in it.
    pub fn remove(&self) -> Result<(), CgroupError> {
        self.folders().try_for_each(remove_tree)
    }
}

fn is_writable(path: &Path) -> bool {
    use nix::unistd::{AccessFlags, eaccess};
    eaccess(path, AccessFlags::W_OK).is_ok()
}

/// Enables version 2's controllers for the children of a group, where they are to
/// be had. Where they are not, children lack them, and say so.
fn enable(parent: &Path, controllers: &[Controller]) -> Result<(), CgroupError> {
    let there = file::read(parent, "cgroup.controllers")?;
    let enabled = file::read(parent, "cgroup.subtree_control")?;
    let names = controllers
        .iter()
        .filter_map(|controller| controller.name(Version::V2));
    for name in names {
        let is_in = |list: &str| list.split_whitespace().any(|listed| listed == name);
        if is_in(&there) && !is_in(&enabled) {
            let _ = file::write(parent, "cgroup.subtree_control", &format!("+{name}"));
        }
    }
    Ok(())
}

/// Makes a directory; the inner error is that it is not ours to make.
fn make(parent: &Path, name: &str) -> Result<Result<PathBuf, CgroupError>, CgroupError> {
    let folder = parent.join(name);
    match fs::create_dir(&folder) {
        Ok(()) => Ok(Ok(folder)),
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(Err(CgroupError::NotDelegated {
                path: parent.to_owned(),
                source,
            }))
        }
        Err(source) => Err(CgroupError::Io {
            doing: "make the cgroup",
            path: folder,
            source,
        }),
    }
}

/// A new group of version 1 has no CPUs and memory nodes, and takes no processes
/// before it has.
fn inherit_cpuset(folder: &Path) -> Result<(), CgroupError> {
    let parent = folder.parent().unwrap_or(folder);
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = file::read(parent, name)?;
        file::write(folder, name, inherited.trim())?;
    }
    Ok(())
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

fn collect_processes(folder: &Path, pids: &mut Vec<Pid>) -> Result<(), CgroupError> {
    let Some(members) = file::read_if_there(folder, "cgroup.procs")? else {
        return Ok(());
    };
    let members = members.lines().filter_map(|line| line.parse::<Pid>().ok());
    // Processes of another PID namespace have the number 0.
    pids.extend(members.filter(|pid| *pid > 0));
    children(folder)?
        .iter()
        .try_for_each(|child| collect_processes(child, pids))
}

fn children(folder: &Path) -> Result<Vec<PathBuf>, CgroupError> {
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
    let mut children = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            children.push(entry.path());
        }
    }
    Ok(children)
}

fn remove_tree(folder: &Path) -> Result<(), CgroupError> {
    for child in children(folder)? {
        remove_tree(&child)?;
    }
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CgroupError::Io {
            doing: "remove the cgroup",
            path: folder.to_owned(),
            source,
        }),
    }
}

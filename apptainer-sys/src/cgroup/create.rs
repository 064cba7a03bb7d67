//! Making groups and removing them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::group::{Legacy, members, subfolders};
use super::{Cgroup, CgroupError, Controller, Version, file};

/// What the calling process may do in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delegation {
    /// Whether it may make groups in version 2's hierarchy, and move processes to
    /// them.
    pub unified: bool,
    /// The controllers that groups made there can have. Those of version 2 are
    /// withheld while the group has processes of its own.
    pub controllers: Vec<(Controller, Version)>,
}

impl Cgroup {
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
    /// nothing. See [`move_processes`](Self::move_processes) for what version 2
    /// asks of this group first.
    pub fn create(&self, name: &str, controllers: &[Controller]) -> Result<Self, CgroupError> {
        let is_file_name = !name.is_empty() && !name.contains(['/', '\0']);
        if !is_file_name || [".", ".."].contains(&name) || name.starts_with("cgroup.") {
            return Err(CgroupError::InvalidName {
                name: name.to_owned(),
            });
        }
        let mut group = Self::nowhere();
        let enabled = match self.unified() {
            Some(parent) => enable(parent, controllers)?,
            None => None,
        };
        let result = match self.create_in_each(name, controllers, &mut group) {
            Ok(Some(refusal)) if group == Self::nowhere() => Err(refusal),
            Ok(_) => return Ok(group),
            Err(error) => {
                let _ = group.remove();
                Err(error)
            }
        };
        if let (Some(parent), Some(enabled)) = (self.unified(), enabled) {
            let _ = file::write(parent, SUBTREE_CONTROL, &enabled.replace('+', "-"));
        }
        result
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
            match make(parent, name)? {
                Ok(folder) => group.unified = Some(folder),
                Err(refused) => refusal = Some(refused),
            }
        }
        for legacy in &self.legacy {
            let mut offered = legacy.controllers.iter();
            let is_wanted = offered.any(|offered| match offered {
                Controller::Freezer => true,
                // What counts CPU time is wanted with what controls it.
                Controller::CpuAcct if controllers.contains(&Controller::Cpu) => true,
                other => controllers.contains(other),
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

    /// Removes it, and the groups below it. That it is gone already is no error.
    ///
    /// Fails with `EBUSY`, and leaves all as it is, while there are processes in it.
    pub fn remove(&self) -> Result<(), CgroupError> {
        const DOING: &str = "remove the cgroup";
        self.check_caller(DOING)?;
        if self.is_populated()? {
            return Err(CgroupError::Io {
                doing: DOING,
                path: self.path().to_owned(),
                source: io::Error::from_raw_os_error(libc::EBUSY),
            });
        }
        self.folders()
            .try_for_each(|folder| remove_tree(folder, DOING))
    }
}

fn is_writable(path: &Path) -> bool {
    use nix::unistd::{AccessFlags, eaccess};
    eaccess(path, AccessFlags::W_OK).is_ok()
}

const SUBTREE_CONTROL: &str = "cgroup.subtree_control";

/// Enables version 2's controllers for the children of a group; returns what it
/// wrote. Those that are not to be had, or not the caller's to give, it leaves out.
///
/// To a group with processes the kernel would give some of them all the same, and
/// make it one of threads, in which nothing else works. So none is enabled there,
/// but in the root, which is exempt.
fn enable(parent: &Path, controllers: &[Controller]) -> Result<Option<String>, CgroupError> {
    let available = file::read(parent, "cgroup.controllers")?;
    let enabled = file::read(parent, SUBTREE_CONTROL)?;
    let is_in = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
    let names = controllers
        .iter()
        .filter_map(|controller| controller.name(Version::V2))
        .filter(|name| is_in(&available, name) && !is_in(&enabled, name));
    let orders: Vec<_> = names.map(|name| format!("+{name}")).collect();
    if orders.is_empty() {
        return Ok(None);
    }
    let has_processes = || CgroupError::HasProcesses {
        path: parent.to_owned(),
    };
    // Only the root has no type.
    if parent.join("cgroup.type").exists() && !members(parent)?.is_empty() {
        return Err(has_processes());
    }
    let orders = orders.join(" ");
    match file::write(parent, SUBTREE_CONTROL, &orders) {
        Ok(()) => Ok(Some(orders)),
        Err(CgroupError::Io { source, .. }) if is_refusal(&source) => Ok(None),
        Err(CgroupError::Io { source, .. }) if source.kind() == io::ErrorKind::ResourceBusy => {
            Err(has_processes())
        }
        Err(error) => Err(error),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Makes a directory; the inner error is that it is not ours to make.
fn make(parent: &Path, name: &str) -> Result<Result<PathBuf, CgroupError>, CgroupError> {
    let path = parent.join(name);
    match fs::create_dir(&path) {
        Ok(()) => Ok(Ok(path)),
        Err(source) if is_refusal(&source) => Ok(Err(CgroupError::NotDelegated {
            path: parent.to_owned(),
            source,
        })),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CgroupError::AlreadyExists { path })
        }
        Err(source) => Err(CgroupError::Io {
            doing: "make the cgroup",
            path,
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
        file::write(folder, name, &inherited)?;
    }
    Ok(())
}

fn remove_tree(folder: &Path, doing: &'static str) -> Result<(), CgroupError> {
    for child in subfolders(folder)? {
        remove_tree(&child, doing)?;
    }
    match fs::remove_dir(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(CgroupError::Io {
            doing,
            path: folder.to_owned(),
            source,
        }),
    }
}

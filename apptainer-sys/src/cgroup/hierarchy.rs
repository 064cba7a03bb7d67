//! Where the hierarchies are mounted, and where in them a process is.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Controller, Version};
use crate::process::Pid;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hierarchy {
    version: Version,
    /// Of version 1.
    controllers: Vec<Controller>,
    /// What of the hierarchy is mounted.
    root: PathBuf,
    mountpoint: PathBuf,
}

/// The directory of a process's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) controllers: Vec<Controller>,
    pub(super) folder: PathBuf,
}

/// The places of a process in all hierarchies that have something to offer.
pub(super) fn places(pid: Pid) -> io::Result<Vec<Place>> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let membership = fs::read(format!("/proc/{pid}/cgroup"))?;
    Ok(places_of(&mounted(&mounts), &membership))
}

/// Reads `/proc/PID/cgroup`, a hierarchy a line.
fn places_of(hierarchies: &[Hierarchy], membership: &[u8]) -> Vec<Place> {
    let lines = membership.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| place_of(hierarchies, line))
        .collect()
}

/// `HIERARCHY:CONTROLLERS:PATH`, with no controllers for version 2.
fn place_of(hierarchies: &[Hierarchy], line: &[u8]) -> Option<Place> {
    let mut fields = line.splitn(3, |byte| *byte == b':').skip(1);
    let names = std::str::from_utf8(fields.next()?).ok()?;
    let path = fields.next()?;
    // The group has been removed, and the process has ended.
    if path.ends_with(b" (deleted)") {
        return None;
    }
    let path = Path::new(OsStr::from_bytes(path));
    let (version, controllers) = if names.is_empty() {
        (Version::V2, Vec::new())
    } else {
        (Version::V1, controllers(names))
    };
    if version == Version::V1 && controllers.is_empty() {
        return None;
    }
    // What is mounted last lies over the rest.
    let folder = hierarchies
        .iter()
        .rev()
        .filter(|hierarchy| hierarchy.version == version && hierarchy.controllers == controllers)
        .find_map(|hierarchy| hierarchy.folder(path))?;
    Some(Place {
        version,
        controllers,
        folder,
    })
}

impl Hierarchy {
    /// Where a group is to be found; `None` when it lies outside of what is mounted.
    fn folder(&self, path: &Path) -> Option<PathBuf> {
        let below = path.strip_prefix(&self.root).ok()?;
        // In a cgroup namespace, what is outside begins so.
        (!below.starts_with("..")).then(|| self.mountpoint.join(below))
    }
}

fn controllers(names: &str) -> Vec<Controller> {
    let mut controllers: Vec<_> = names
        .split(',')
        .filter_map(|name| Controller::from_name(name, Version::V1))
        .collect();
    controllers.sort_unstable();
    controllers
}

/// Reads `/proc/PID/mountinfo`, proc(5).
fn mounted(mounts: &[u8]) -> Vec<Hierarchy> {
    let lines = mounts.split(|byte| *byte == b'\n');
    lines.filter_map(hierarchy).collect()
}

fn hierarchy(line: &[u8]) -> Option<Hierarchy> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    // Optional fields end with a dash.
    let dash = fields.iter().position(|field| *field == b"-")?;
    let version = match *fields.get(dash + 1)? {
        b"cgroup" => Version::V1,
        b"cgroup2" => Version::V2,
        _ => return None,
    };
    let options = std::str::from_utf8(fields.get(dash + 3)?).ok()?;
    let path = |index: usize| Some(unescaped(fields.get(index)?));
    Some(Hierarchy {
        version,
        controllers: if version == Version::V1 {
            controllers(options)
        } else {
            Vec::new()
        },
        root: path(3)?,
        mountpoint: path(4)?,
    })
}

/// Blanks and backslashes stand as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((byte, behind)) = rest.split_first() {
        let octal = behind.get(..3).filter(|_| *byte == b'\\');
        let code = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"\
29 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
30 29 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate
31 29 0:28 /slurm /sys/fs/cgroup/cpu,cpuacct rw shared:11 - cgroup cgroup rw,cpu,cpuacct
32 29 0:29 / /sys/fs/cgroup/a\\040b rw - cgroup cgroup rw,memory
33 29 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
";

    #[test]
    fn a_process_has_a_place_in_each_hierarchy_that_controls_something() {
        let membership = b"\
9:name=systemd:/user.slice
4:cpu,cpuacct:/slurm/job_7
3:memory:/
1:devices:/
0::/user.slice/user-7.slice
";
        let places = places_of(&mounted(MOUNTS), membership);
        let found: Vec<_> = places
            .iter()
            .map(|place| (place.controllers.as_slice(), place.folder.to_str().unwrap()))
            .collect();
        assert_eq!(
            found,
            [
                (
                    &[Controller::Cpu, Controller::CpuAcct][..],
                    "/sys/fs/cgroup/cpu,cpuacct/job_7"
                ),
                (&[Controller::Memory][..], "/sys/fs/cgroup/a b/"),
                (&[][..], "/sys/fs/cgroup/unified/user.slice/user-7.slice"),
            ]
        );
    }

    #[test]
    fn what_is_not_mounted_has_no_place() {
        let outside = b"4:cpu,cpuacct:/other\n3:memory:/gone (deleted)\n0::/../elsewhere\n";
        assert_eq!(places_of(&mounted(MOUNTS), outside), []);
        assert_eq!(places_of(&[], b"0::/\n"), []);
    }

    #[test]
    fn what_is_mounted_over_another_counts() {
        let twice = b"\
30 29 0:27 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw
31 29 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
32 29 0:27 /other /mnt rw - cgroup2 cgroup2 rw
";
        let places = places_of(&mounted(twice), b"0::/job\n");
        assert_eq!(places[0].folder, Path::new("/sys/fs/cgroup/job"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(mounts: Vec<u8>, membership: Vec<u8>) {
            let _ = places_of(&mounted(&mounts), &membership);
            let _ = unescaped(&mounts);
        }
    }
}

//! A directory of ours that git takes for the repository's.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Host;
use super::beneath::{self, is_missing, line};
use super::find::Found;
use crate::workspace::git::GitError;

/// What is copied of the repository's own directory, where it is there, and of the common one.
const OWN: [&str; 3] = ["HEAD", "index", "info/sparse-checkout"];
const COMMON: [&str; 4] = ["packed-refs", "shallow", "info/exclude", "info/attributes"];

/// How deep git follows alternates.
const DEPTH: usize = 5;

/// More than this is no list of alternates.
const MOST: u64 = 1 << 20;

/// A directory that has of a repository what tells what has been changed in it, and nothing that
/// runs a program.
#[derive(Debug)]
pub(super) struct Shadow {
    folder: tempfile::TempDir,
    alternates: OsString,
}

impl Shadow {
    pub(super) fn new(host: &Host, found: &Found, settings: &str) -> Result<Self, GitError> {
        let objects = host.resolve_from(&found.common, Path::new("objects"))?;
        let mut alternates = Vec::new();
        check_objects(host, &objects, DEPTH, &mut alternates)?;
        let failed = |source| GitError::Io {
            path: host.mount.join(&found.git),
            source,
        };
        let folder = tempfile::Builder::new()
            .prefix("apptainer-rs-git-")
            .tempdir();
        let shadow = Self {
            folder: folder.map_err(failed)?,
            alternates: alternates.join(OsStr::new(":")),
        };
        shadow
            .fill(host, found, &objects, settings)
            .map_err(failed)?;
        Ok(shadow)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where else objects are, as git wants to be told.
    pub(super) fn alternates(&self) -> &OsStr {
        &self.alternates
    }

    fn fill(&self, host: &Host, found: &Found, objects: &Path, settings: &str) -> io::Result<()> {
        let path = self.path();
        fs::write(path.join("config"), settings)?;
        fs::create_dir(path.join("info"))?;
        symlink(host.mount.join(objects), path.join("objects"))?;
        for name in ["refs", "reftable"] {
            match host.resolve_from(&found.common, Path::new(name)) {
                Ok(below) => symlink(host.mount.join(below), path.join(name))?,
                Err(_) if name == "refs" => fs::create_dir(path.join(name))?,
                Err(_) => {}
            }
        }
        for name in OWN {
            self.copy(host, &found.git.join(name), name)?;
        }
        for name in COMMON {
            self.copy(host, &found.common.join(name), name)?;
        }
        if !path.join("HEAD").exists() {
            // An old one is a link to the branch.
            let branch = beneath::link(&host.mount, &found.git.join("HEAD"))?;
            let mut head = b"ref: ".to_vec();
            head.extend_from_slice(branch.as_os_str().as_bytes());
            fs::write(path.join("HEAD"), head)?;
        }
        for entry in fs::read_dir(host.mount.join(&found.git))? {
            let name = entry?.file_name();
            if name.as_bytes().starts_with(b"sharedindex.") {
                self.copy(host, &found.git.join(&name), &name)?;
            }
        }
        Ok(())
    }

    /// With its time: by that of its index git knows which files it has to look at.
    fn copy(&self, host: &Host, below: &Path, name: impl AsRef<Path>) -> io::Result<()> {
        let mut file = match beneath::open(&host.mount, below) {
            Ok(file) => file,
            // A link, too: of what git itself makes only an old HEAD is one.
            Err(error) if is_missing(&error) || is_link(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let modified = file.metadata()?.modified()?;
        let mut copy = File::create_new(self.path().join(name))?;
        io::copy(&mut file, &mut copy)?;
        copy.set_times(FileTimes::new().set_modified(modified))
    }
}

fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ELOOP)
}

/// Makes sure that no object is read from elsewhere, and finds where else there are some.
fn check_objects(
    host: &Host,
    objects: &Path,
    depth: usize,
    alternates: &mut Vec<OsString>,
) -> Result<(), GitError> {
    for directory in [
        objects.to_owned(),
        objects.join("pack"),
        objects.join("info"),
    ] {
        let Ok(entries) = fs::read_dir(host.mount.join(&directory)) else {
            continue;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                same(host, &directory, Path::new(&entry.file_name()))?;
            }
        }
    }
    let listed = match beneath::read(&host.mount, &objects.join("info/alternates"), MOST) {
        Ok(listed) if depth > 0 => listed,
        _ => return Ok(()),
    };
    let lines = listed.split(|byte| *byte == b'\n');
    for named in lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")) {
        let named = line(named.to_vec());
        let Some(found) = same(host, objects, &named)? else {
            continue;
        };
        let path = host.mount.join(&found);
        if path.as_os_str().as_bytes().contains(&b':') {
            continue;
        }
        alternates.push(path.into_os_string());
        check_objects(host, &found, depth - 1, alternates)?;
    }
    Ok(())
}

/// What a link or a line means in the container, which what it means on the host must not
/// contradict: git reads it as the host does. Nothing, where it means nothing to either.
fn same(host: &Host, directory: &Path, named: &Path) -> Result<Option<PathBuf>, GitError> {
    let there = host.resolve_from(directory, named);
    let here = fs::canonicalize(host.mount.join(directory).join(named)).ok();
    match (there, here) {
        (Ok(there), here) => {
            let meant = fs::canonicalize(host.mount.join(&there)).ok();
            if here.is_none() || here == meant {
                return Ok(Some(there));
            }
            Err(outside(host, named))
        }
        (Err(GitError::NoSuchFile { .. } | GitError::Outside { .. }), None) => Ok(None),
        (Err(error @ GitError::Io { .. }), _) => Err(error),
        (Err(_), _) => Err(outside(host, named)),
    }
}

fn outside(host: &Host, path: &Path) -> GitError {
    GitError::Outside {
        path: path.to_owned(),
        mount: host.mount.clone(),
    }
}

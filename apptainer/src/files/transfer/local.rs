//! Directories of the host's, in which names are looked for one at a time, and links not followed.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, UTIME_OMIT,
    fstat, linkat, mkdirat, openat, readlinkat, renameat, renameat_with, statat, symlinkat,
    utimensat,
};

use crate::files::place::new_name;
use crate::files::{FilesError, Kind, Location};

/// One that is open, and its path, for telling.
pub(super) struct LocalDir {
    fd: OwnedFd,
    path: PathBuf,
}

const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl LocalDir {
    /// This one, links followed.
    pub(super) fn open(path: &Path, doing: &'static str) -> Result<Self, FilesError> {
        let flags = OPEN_DIR.difference(OFlags::NOFOLLOW);
        let fd = openat(CWD, path, flags, Mode::empty());
        Ok(Self {
            fd: fd.map_err(|error| FilesError::on_host(doing, path)(error.into()))?,
            path: path.to_owned(),
        })
    }

    pub(super) fn of(file: File, path: &Path) -> Self {
        Self {
            fd: file.into(),
            path: path.to_owned(),
        }
    }

    /// The one in which this path is to be, made with those that it is in; and the name there.
    pub(super) fn parent_of(path: &Path) -> Result<(Self, OsString), FilesError> {
        const DOING: &str = "make the directory";
        let absolute = std::path::absolute(path).map_err(FilesError::on_host(DOING, path))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            let path = path.to_owned();
            return Err(FilesError::Path { path });
        };
        let made = std::fs::create_dir_all(parent);
        made.map_err(FilesError::on_host(DOING, parent))?;
        Ok((Self::open(parent, DOING)?, name.to_owned()))
    }

    pub(super) fn at(&self, name: &OsStr) -> Location {
        Location::host(self.path.join(name))
    }

    fn failed<E: Into<io::Error>>(
        &self,
        doing: &'static str,
        name: &OsStr,
    ) -> impl FnOnce(E) -> FilesError {
        let at = self.at(name);
        move |error| FilesError::new(doing, at, error.into())
    }

    pub(super) fn stat(&self) -> Result<Stat, FilesError> {
        fstat(&self.fd).map_err(|error| FilesError::on_host("look at", &self.path)(error.into()))
    }

    /// What has this name, if something has.
    pub(super) fn find(&self, name: &OsStr) -> Result<Option<Stat>, FilesError> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(self.failed("look at", name)(error)),
        }
    }

    /// What is in it, by name.
    pub(super) fn list(&self) -> Result<Vec<(OsString, Kind)>, FilesError> {
        let failed =
            |error: rustix::io::Errno| FilesError::on_host("list", &self.path)(error.into());
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match self.find(&name)? {
                    Some(found) => Kind::of_mode(found.st_mode),
                    None => continue,
                },
                kind => Kind::of_mode(kind.as_raw_mode()),
            };
            found.push((name, kind));
        }
        found.sort();
        Ok(found)
    }

    pub(super) fn enter(&self, name: &OsStr, doing: &'static str) -> Result<Self, FilesError> {
        let fd = openat(&self.fd, name, OPEN_DIR, Mode::empty());
        Ok(Self {
            fd: fd.map_err(self.failed(doing, name))?,
            path: self.path.join(name),
        })
    }

    /// A file in it, open for reading; a pipe is not waited for.
    pub(super) fn read(&self, name: &OsStr) -> Result<File, FilesError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty());
        Ok(fd.map_err(self.failed("read", name))?.into())
    }

    pub(super) fn read_link(&self, name: &OsStr) -> Result<CString, FilesError> {
        readlinkat(&self.fd, name, Vec::new()).map_err(self.failed("read the link", name))
    }

    /// A new file in it, open for writing.
    pub(super) fn create(&self, name: &OsStr, mode: u32) -> Result<File, FilesError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(mode);
        let fd = openat(&self.fd, name, flags | OFlags::CLOEXEC, mode);
        Ok(fd.map_err(self.failed("write", name))?.into())
    }

    /// A file of this name, new or not, open for reading and writing.
    pub(super) fn open_or_create(&self, name: &OsStr) -> Result<File, FilesError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o600);
        let fd = openat(&self.fd, name, flags | OFlags::CLOEXEC, mode);
        Ok(fd.map_err(self.failed("write", name))?.into())
    }

    /// A file in it without a name, which is gone with whoever holds it; `None` where the file
    /// system has no such files.
    fn create_nameless(&self) -> Option<File> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o600);
        openat(&self.fd, ".", flags, mode).ok().map(Into::into)
    }

    pub(super) fn make_dir(&self, name: &OsStr, mode: u32) -> Result<(), FilesError> {
        let mode = Mode::from_raw_mode(mode);
        mkdirat(&self.fd, name, mode).map_err(self.failed("make the directory", name))
    }

    pub(super) fn make_link(&self, target: &Path, name: &OsStr) -> Result<(), FilesError> {
        let made = symlinkat(target, &self.fd, name);
        made.map_err(self.failed("make the link", name))
    }

    /// Sets when a link was changed.
    pub(super) fn date_link(&self, name: &OsStr, modified: (i64, u32)) {
        // Not every file system has times of links.
        let _ = utimensat(
            &self.fd,
            name,
            &timestamps(modified),
            AtFlags::SYMLINK_NOFOLLOW,
        );
    }

    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), FilesError> {
        renameat(&self.fd, from, &self.fd, to).map_err(self.failed("write", to))
    }

    /// The same, where nothing has that name yet.
    pub(super) fn rename_new(&self, from: &OsStr, to: &OsStr) -> Result<(), FilesError> {
        match renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                if self.find(to)?.is_some() {
                    let exists = rustix::io::Errno::EXIST;
                    return Err(self.failed("write", to)(exists));
                }
                self.rename(from, to)
            }
            renamed => renamed.map_err(self.failed("write", to)),
        }
    }

    /// Gives the directory itself these.
    pub(super) fn set(&self, mode: u32, modified: (i64, u32)) -> Result<(), FilesError> {
        set(&self.fd, mode, modified)
            .map_err(|error| FilesError::on_host("set the permissions of", &self.path)(error))
    }

    pub(super) fn sync(&self) -> Result<(), FilesError> {
        let synced = rustix::fs::fsync(&self.fd);
        synced.map_err(|error| FilesError::on_host("write", &self.path)(error.into()))
    }

    /// Removes whatever has this name, with all that is in it.
    pub(super) fn remove_all(&self, name: &OsStr) {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(name);
        let is_dir = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let removed = if is_dir {
            crate::folders::remove_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = self.path.join(name);
            tracing::warn!(%error, path = %path.display(), "cannot remove what is not finished");
        }
    }
}

/// Gives permissions and a time to what is open.
pub(super) fn set(fd: impl std::os::fd::AsFd, mode: u32, modified: (i64, u32)) -> io::Result<()> {
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
    Ok(rustix::fs::futimens(&fd, &timestamps(modified))?)
}

/// A time of change.
pub(super) fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.into(),
        },
    }
}

/// A new file that has no name of its own yet, or a hidden one: dropped before it is
/// [published](Self::publish), it is removed.
pub(super) struct NewFile<'d> {
    folder: &'d LocalDir,
    file: File,
    name: Option<OsString>,
}

impl<'d> NewFile<'d> {
    pub(super) fn create(folder: &'d LocalDir) -> Result<Self, FilesError> {
        if let Some(file) = folder.create_nameless() {
            return Ok(Self {
                folder,
                file,
                name: None,
            });
        }
        let name = OsString::from(new_name());
        let file = folder.create(&name, 0o600)?;
        Ok(Self {
            folder,
            file,
            name: Some(name),
        })
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Gives it this name, and takes that from what had it.
    pub(super) fn publish(mut self, name: &OsStr) -> Result<(), FilesError> {
        let hidden = if let Some(hidden) = &self.name {
            hidden.clone()
        } else {
            let hidden = OsString::from(new_name());
            let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let flags = AtFlags::SYMLINK_FOLLOW;
            linkat(CWD, path, &self.folder.fd, &hidden, flags)
                .map_err(self.folder.failed("write", name))?;
            self.name = Some(hidden.clone());
            hidden
        };
        self.folder.rename(&hidden, name)?;
        self.name = None;
        Ok(())
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            self.folder.remove_all(name);
        }
    }
}

/// A new directory with a hidden name: dropped before it is [kept](Self::publish), it is removed
/// with all that is in it.
pub(super) struct NewDir<'d> {
    folder: &'d LocalDir,
    name: OsString,
    is_kept: bool,
}

impl<'d> NewDir<'d> {
    pub(super) fn create(folder: &'d LocalDir) -> Result<Self, FilesError> {
        let name = OsString::from_vec(new_name().into_bytes());
        folder.make_dir(&name, 0o700)?;
        Ok(Self {
            folder,
            name,
            is_kept: false,
        })
    }

    pub(super) fn enter(&self) -> Result<LocalDir, FilesError> {
        self.folder.enter(&self.name, "write")
    }

    pub(super) fn publish(mut self, name: &OsStr) -> Result<(), FilesError> {
        self.folder.rename_new(&self.name, name)?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for NewDir<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.folder.remove_all(&self.name);
        }
    }
}

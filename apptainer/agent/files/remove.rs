//! Removing all there is at a path, without following a link.

use core::ffi::CStr;

use crate::sys::{self, At, Errno, Fd, Result};
use crate::tree::next_entry;

/// Whether permissions that are in the way are changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Force {
    No,
    Yes,
}

/// How many directories are kept open on the way down. What is below those is found again from
/// above each time.
const DEPTH: usize = 24;

/// How often a directory is emptied in which something new appears.
const ROUNDS: usize = 64;

/// A name, and its NUL: `NAME_MAX` of linux/limits.h, and one more.
type Name = [u8; 256];

const WITH: usize = sys::O_RDONLY | sys::O_DIRECTORY | sys::O_NOFOLLOW;

pub(super) fn remove_all(path: &CStr, force: Force) -> Result<()> {
    let refused = match sys::remove_file(At::Here, path) {
        Ok(()) => return Ok(()),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
        Err(error) => return Err(error),
    };
    let mut top = sys::open(path, WITH);
    if force == Force::Yes && matches!(top, Err(Errno::ACCES)) {
        sys::set_mode(At::Here, path, 0o700)?;
        top = sys::open(path, WITH);
    }
    match top {
        // It was no directory that could not be removed.
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(refused),
        top => Walk::new(force).empty(&top?)?,
    }
    sys::remove_directory(At::Here, path)
}

/// Where it is in a tree.
struct Walk {
    force: Force,
    /// The directories below the top, each with its name in the one above.
    open: [Option<(Fd, Name)>; DEPTH],
    depth: usize,
    /// Whether there are others between the top and the first of them.
    is_far: bool,
}

impl Walk {
    fn new(force: Force) -> Self {
        Self {
            force,
            open: [const { None }; DEPTH],
            depth: 0,
            is_far: false,
        }
    }

    /// Removes all that is in a directory.
    fn empty(&mut self, top: &Fd) -> Result<()> {
        loop {
            let here = match self.depth {
                0 => top,
                depth => self.open[depth - 1].as_ref().map_or(top, |(fd, _)| fd),
            };
            if let Some(name) = self.remove_files(here)? {
                let below = self.enter(here, &name)?;
                self.push(below, name);
                continue;
            }
            if self.depth == 0 {
                return Ok(());
            }
            self.depth -= 1;
            let Some((_, name)) = self.open[self.depth].take() else {
                continue;
            };
            let above = match self.depth {
                // It is found again, empty.
                0 if self.is_far => {
                    self.is_far = false;
                    continue;
                }
                0 => top,
                depth => self.open[depth - 1].as_ref().map_or(top, |(fd, _)| fd),
            };
            self.forced(above, || {
                sys::remove_directory(At::Below(above), text(&name)?)
            })?;
        }
    }

    fn push(&mut self, fd: Fd, name: Name) {
        if self.depth == DEPTH {
            self.open.rotate_left(1);
            self.depth -= 1;
            self.is_far = true;
        }
        self.open[self.depth] = Some((fd, name));
        self.depth += 1;
    }

    fn enter(&self, above: &Fd, name: &Name) -> Result<Fd> {
        let name = text(name)?;
        match sys::open_at(above, name, WITH) {
            Err(Errno::ACCES) if self.force == Force::Yes => {
                sys::set_mode(At::Below(above), name, 0o700)?;
                sys::open_at(above, name, WITH)
            }
            opened => opened,
        }
    }

    /// Removes what is no directory, until there is one, or nothing.
    fn remove_files(&self, directory: &Fd) -> Result<Option<Name>> {
        for _ in 0..ROUNDS {
            sys::rewind(directory)?;
            let mut buffer = [0; 4096];
            let mut is_empty = true;
            loop {
                let length = sys::entries(directory, &mut buffer)?;
                if length == 0 {
                    break;
                }
                let mut left = &buffer[..length];
                while let Some((entry, rest)) = next_entry(left) {
                    left = rest;
                    if matches!(entry.name.to_bytes(), b"." | b"..") {
                        continue;
                    }
                    is_empty = false;
                    if !self.remove_file(directory, entry.name, entry.kind)? {
                        let mut name = [0; 256];
                        let bytes = entry.name.to_bytes();
                        let room = name.get_mut(..bytes.len()).ok_or(Errno::NAMETOOLONG)?;
                        room.copy_from_slice(bytes);
                        return Ok(Some(name));
                    }
                }
            }
            if is_empty {
                return Ok(None);
            }
        }
        Err(Errno::NOTEMPTY)
    }

    /// Whether it was no directory.
    fn remove_file(&self, directory: &Fd, name: &CStr, kind: u8) -> Result<bool> {
        const DT_DIR: u8 = 4;
        if kind == DT_DIR {
            return Ok(false);
        }
        match self.forced(directory, || sys::remove_file(At::Below(directory), name)) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::ISDIR) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn forced(&self, directory: &Fd, mut remove: impl FnMut() -> Result<()>) -> Result<()> {
        match remove() {
            Err(Errno::ACCES) if self.force == Force::Yes => {
                sys::set_mode_of(directory, 0o700)?;
                remove()
            }
            removed => removed,
        }
    }
}

fn text(name: &Name) -> Result<&CStr> {
    CStr::from_bytes_until_nul(name).map_err(|_| Errno::NAMETOOLONG)
}

//! What a caller has not finished.

use core::ffi::CStr;

use super::remove::{Force, remove_all};
use crate::files_protocol::MAX_PATH;
use crate::pages::Pages;
use crate::sys::{Errno, Result};

/// How many can be remembered.
const MOST: usize = 32;

/// The paths of what is removed when nobody is left to finish it.
pub(super) struct Temporaries {
    /// One after the other; what begins with a NUL is free.
    paths: Pages,
}

impl Temporaries {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            paths: Pages::new(MOST * MAX_PATH)?,
        })
    }

    /// Makes something that is remembered, if that works.
    pub(super) fn make<T>(&mut self, path: &CStr, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut places = self.paths.bytes_mut().chunks_exact_mut(MAX_PATH);
        let place = places.find(|place| place[0] == 0).ok_or(Errno::MFILE)?;
        let result = make()?;
        let path = path.to_bytes_with_nul();
        // A path is no longer than that.
        place[..path.len()].copy_from_slice(path);
        Ok(result)
    }

    /// It is no longer there, or no longer temporary.
    pub(super) fn forget(&mut self, path: &CStr) {
        let path = path.to_bytes_with_nul();
        for place in self.paths.bytes_mut().chunks_exact_mut(MAX_PATH) {
            if place.starts_with(path) {
                place[0] = 0;
            }
        }
    }

    /// Removes them.
    pub(super) fn remove(&self) {
        for place in self.paths.bytes().chunks_exact(MAX_PATH) {
            if let Ok(path) = CStr::from_bytes_until_nul(place)
                && !path.is_empty()
            {
                // Nobody is there to be told.
                let _ = remove_all(path, Force::Yes);
            }
        }
    }
}

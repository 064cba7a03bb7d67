//! Where a child says why it failed.
#![expect(unsafe_code, reason = "shared memory is mapped through libc")]

use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::ptr::{NonNull, null_mut};

use crate::process::spawn::SpawnStage;

/// What failed, and its error number.
pub(super) type FailureCell = Cell<Option<(SpawnStage, c_int)>>;

/// Memory that a child has in common with its parent although it has its own.
pub(super) struct SharedPage(NonNull<FailureCell>);

impl SharedPage {
    const LENGTH: usize = size_of::<FailureCell>();

    pub(super) fn new() -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: it asks for memory of its own, at an address of the kernel's choice.
        let memory = unsafe { libc::mmap(null_mut(), Self::LENGTH, protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let cell = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: it is a page, which is aligned for anything, and large enough.
        unsafe { cell.write(Cell::new(None)) };
        Ok(Self(cell))
    }

    pub(super) fn cell(&self) -> &FailureCell {
        // SAFETY: `new` initialised it, and it is mapped until this is dropped.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        // SAFETY: `new` mapped it, and nothing refers to it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), Self::LENGTH) };
    }
}

//! Memory, straight from the kernel.

use core::ptr::NonNull;
use core::slice;

use crate::sys::{self, Fd, Result};

/// A mapping, given back when it is dropped. Pages that were never touched cost
/// nothing.
pub(crate) struct Pages {
    at: NonNull<u8>,
    length: usize,
}

impl Pages {
    /// Memory of at least this length, all zeroes.
    pub(crate) fn new(length: usize) -> Result<Self> {
        Self::map(length, None)
    }

    /// A file's contents, for reading.
    pub(crate) fn of_file(file: &Fd, length: usize) -> Result<Self> {
        Self::map(length, Some(file))
    }

    /// A copy of these bytes.
    pub(crate) fn holding(bytes: &[u8]) -> Result<Self> {
        let mut pages = Self::new(bytes.len())?;
        pages.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        Ok(pages)
    }

    fn map(length: usize, file: Option<&Fd>) -> Result<Self> {
        let length = length.max(1);
        let at = sys::map(length, file)?;
        // The kernel maps nothing at 0 unless it is told to.
        let at = NonNull::new(at).ok_or(sys::Errno::NOMEM)?;
        Ok(Self { at, length })
    }

    pub(crate) fn at<T>(&self) -> *mut T {
        self.at.as_ptr().cast()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: it is mapped, initialised and ours alone until this is dropped. What is a
        // file's is not asked for in this way.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.length) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: it is mapped, initialised and readable until this is dropped.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it is ours, and whatever borrowed it is gone.
        unsafe { sys::unmap(self.at.as_ptr(), self.length) };
    }
}

/// A list that grows. What is in it is not dropped with it: lists last as long as the
/// agent.
pub(crate) struct List<T> {
    at: NonNull<T>,
    room: usize,
    length: usize,
}

impl<T> List<T> {
    pub(crate) fn new() -> Result<Self> {
        const FIRST: usize = 4096;
        let pages = Pages::new(FIRST)?;
        let list = Self {
            at: pages.at.cast(),
            room: FIRST / size_of::<T>(),
            length: 0,
        };
        core::mem::forget(pages);
        Ok(list)
    }

    pub(crate) fn push(&mut self, value: T) -> Result<()> {
        if self.length == self.room {
            self.grow()?;
        }
        // SAFETY: there is room for one more.
        unsafe { self.at.add(self.length).write(value) };
        self.length += 1;
        Ok(())
    }

    fn grow(&mut self) -> Result<()> {
        let bytes = self.bytes();
        // SAFETY: it is a mapping of that length; nothing borrows from the list now.
        let at = unsafe { sys::remap(self.at.as_ptr().cast(), bytes, 2 * bytes) }?;
        self.at = NonNull::new(at.cast()).ok_or(sys::Errno::NOMEM)?;
        self.room = 2 * bytes / size_of::<T>();
        Ok(())
    }

    pub(crate) fn clear(&mut self)
    where
        T: Copy,
    {
        self.length = 0;
    }

    /// How long the mapping is: `room` values need not fill it.
    fn bytes(&self) -> usize {
        (self.room * size_of::<T>()).next_multiple_of(4096)
    }
}

impl List<u8> {
    pub(crate) fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        while self.room - self.length < bytes.len() {
            self.grow()?;
        }
        // SAFETY: there is room for so many more, and they are not of this list.
        unsafe {
            let end = self.at.add(self.length).as_ptr();
            end.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        self.length += bytes.len();
        Ok(())
    }

    /// Takes so many away from the beginning.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.copy_within(count.., 0);
        self.length -= count;
    }
}

impl<T> core::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: so many values have been written.
        unsafe { slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl<T> core::ops::DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: so many values have been written, and the list is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.at.as_ptr(), self.length) }
    }
}

//! A command's words: from the request to the arrays that the kernel takes.

use core::ffi::CStr;
use core::ptr::null;

use crate::mark::{Mark, is_mark};
use crate::pages::Pages;
use crate::protocol::{Spawn, flags};
use crate::sys::Result;

/// Where a command's words are, for execve(2).
pub(crate) struct Words {
    /// Empty for the agent's own.
    pub(crate) directory: *const u8,
    /// One place is free before the first, for a shell's name.
    pub(crate) argv: *mut *const u8,
    pub(crate) envp: *const *const u8,
    /// Where programs are looked for, if the variable is set.
    pub(crate) path: *const u8,
    /// Memory for the arrays, where they did not fit into `room`.
    pub(crate) memory: Option<Pages>,
}

/// Writes pointers, one after the other.
struct Pointers {
    at: *mut *const u8,
    left: usize,
}

impl Pointers {
    fn push(&mut self, pointer: *const u8) {
        if self.left == 0 {
            return;
        }
        // SAFETY: there is room for one more.
        unsafe {
            self.at.write(pointer);
            self.at = self.at.add(1);
        }
        self.left -= 1;
    }
}

/// Lays out `words`, which must be what `spawn` speaks of, over the variables in
/// `base`, with `mark` before them.
pub(crate) fn lay_out(
    spawn: &Spawn<'_>,
    words: &[u8],
    base: &[*const u8],
    mark: &Mark,
    room: &mut [*const u8],
) -> Result<Words> {
    // One for a shell, the nulls behind both arrays, the mark.
    let needed = 4 + spawn.args as usize + base.len() + spawn.set as usize;
    let memory = if needed > room.len() {
        Some(Pages::new(needed * size_of::<*const u8>())?)
    } else {
        None
    };
    let start = match &memory {
        Some(memory) => memory.at(),
        None => room.as_mut_ptr(),
    };
    let mut pointers = Pointers {
        at: start,
        left: needed,
    };
    let mut all = words.split_inclusive(|byte| *byte == 0);
    let directory = all.next().map_or(null(), <[u8]>::as_ptr);
    pointers.push(null());
    let argv = pointers.at;
    for word in all.by_ref().take(spawn.args as usize) {
        pointers.push(word.as_ptr());
    }
    pointers.push(null());
    let envp = pointers.at;
    pointers.push(mark.as_ptr());
    let set = all.clone().take(spawn.set as usize);
    let removed = all.skip(spawn.set as usize);
    if spawn.flags & flags::CLEAR_ENVIRONMENT == 0 {
        for variable in base {
            // SAFETY: the kernel gave them to the agent, each ended by a NUL.
            let text = unsafe { CStr::from_ptr((*variable).cast()) }.to_bytes();
            let name = name(text);
            let is_replaced = set.clone().any(|word| self::name(word) == name)
                || removed
                    .clone()
                    .any(|word| word.split_last().is_some_and(|(_, word)| word == name))
                || is_mark(text);
            if !is_replaced {
                pointers.push(*variable);
            }
        }
    }
    for word in set {
        pointers.push(word.as_ptr());
    }
    pointers.push(null());
    Ok(Words {
        directory,
        argv,
        envp,
        path: value(envp, b"PATH="),
        memory,
    })
}

/// What stands before the first `=`, or all of it.
fn name(variable: &[u8]) -> &[u8] {
    let end = variable.iter().position(|byte| *byte == b'=');
    &variable[..end.unwrap_or(variable.len())]
}

/// The value of a variable in an array that ends in a null; null if it has none.
fn value(mut envp: *const *const u8, prefix: &[u8]) -> *const u8 {
    loop {
        // SAFETY: the array ends in a null, and nothing behind that is read.
        let variable = unsafe { envp.read() };
        if variable.is_null() {
            return null();
        }
        // SAFETY: each word ends in a NUL.
        let text = unsafe { CStr::from_ptr(variable.cast()) }.to_bytes();
        if text.starts_with(prefix) {
            return text[prefix.len()..].as_ptr();
        }
        // SAFETY: it is not the null, so another follows.
        envp = unsafe { envp.add(1) };
    }
}

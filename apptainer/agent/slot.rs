//! Where a request lies until its command runs.
//!
//! A new process shares the agent's memory until it has become its program, and the
//! agent does not wait for that: a program on a slow file system would hold up all
//! others. So what the process works with stays in a slot of its own meanwhile. The
//! kernel writes 0 to [`Slot::alive`] when the process no longer needs it.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::child::Plan;
use crate::mark::Mark;
use crate::pages::Pages;
use crate::protocol::{MAX_MESSAGE, Stage};
use crate::sys::{Errno, Result};

/// How many commands may be between request and program at a time.
pub(crate) const SLOTS: usize = 32;

/// Pointers to words that fit without asking for memory.
const POINTERS: usize = 4096;

/// All zeroes is a free one.
#[repr(C)]
pub(crate) struct Slot {
    stack: UnsafeCell<[MaybeUninit<u128>; 1024]>,
    pub(crate) message: UnsafeCell<[u8; MAX_MESSAGE]>,
    pub(crate) pointers: UnsafeCell<[*const u8; POINTERS]>,
    pub(crate) plan: UnsafeCell<MaybeUninit<Plan>>,
    pub(crate) mark: UnsafeCell<Mark>,
    /// Not 0 while a process shares this memory.
    pub(crate) alive: AtomicU32,
    /// What failed, above the error's number; 0 for nothing.
    failure: AtomicU64,
}

impl Slot {
    /// Where the stack ends; it grows down from there.
    pub(crate) fn stack_end(&self) -> *mut u8 {
        // SAFETY: one behind its end is still of the array.
        unsafe { self.stack.get().add(1).cast() }
    }

    /// For the new process to say what failed.
    pub(crate) fn fail(&self, stage: Stage, error: Errno) {
        let failure = (stage as u64 + 1) << 32 | u64::from(error.0 as u32);
        self.failure.store(failure, Ordering::Release);
    }

    pub(crate) fn failure(&self) -> Option<(Stage, Errno)> {
        let failure = self.failure.load(Ordering::Acquire);
        let stage = usize::try_from((failure >> 32).checked_sub(1)?).ok()?;
        Some((*Stage::ALL.get(stage)?, Errno(failure as u32 as i32)))
    }
}

/// Which slot a command has, as long as it is that command's.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    index: usize,
    serial: u32,
}

/// What is known of a slot, outside of it.
struct Lent {
    is_taken: bool,
    serial: u32,
    /// Memory for words and pointers that do not fit into it.
    apart: [Option<Pages>; 2],
}

pub(crate) struct Slots {
    memory: Pages,
    lent: [Lent; SLOTS],
}

impl Slots {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            memory: Pages::new(SLOTS * size_of::<Slot>())?,
            lent: [const {
                Lent {
                    is_taken: false,
                    serial: 0,
                    apart: [None, None],
                }
            }; SLOTS],
        })
    }

    pub(crate) fn slot(&self, ticket: Ticket) -> &Slot {
        // SAFETY: there are so many slots, a ticket's index is one's, all zeroes is a
        // slot, and what changes in one is in cells.
        unsafe { &*self.memory.at::<Slot>().add(ticket.index) }
    }

    /// A slot that nobody uses, if there is one.
    pub(crate) fn take(&mut self) -> Option<Ticket> {
        let index = (0..SLOTS).find(|index| self.is_free(*index))?;
        self.free(index);
        let lent = &mut self.lent[index];
        lent.is_taken = true;
        let ticket = Ticket {
            index,
            serial: lent.serial,
        };
        self.slot(ticket).failure.store(0, Ordering::Relaxed);
        Some(ticket)
    }

    /// Lent to a process that has become its program, it is free again.
    fn is_free(&self, index: usize) -> bool {
        let slot = self.slot(Ticket { index, serial: 0 });
        let is_left = slot.alive.load(Ordering::Acquire) == 0 && slot.failure().is_none();
        !self.lent[index].is_taken || is_left
    }

    fn free(&mut self, index: usize) {
        let lent = &mut self.lent[index];
        lent.is_taken = false;
        lent.serial = lent.serial.wrapping_add(1);
        lent.apart = [None, None];
    }

    /// Gives a slot back.
    pub(crate) fn give_back(&mut self, ticket: Ticket) {
        if self.lent[ticket.index].serial == ticket.serial {
            self.free(ticket.index);
        }
    }

    /// Keeps memory for as long as the slot is lent.
    pub(crate) fn keep(&mut self, ticket: Ticket, words: Option<Pages>, pointers: Option<Pages>) {
        self.lent[ticket.index].apart = [words, pointers];
    }

    /// Why the process that the slot was lent to is not its program.
    pub(crate) fn failure(&self, ticket: Ticket) -> Option<(Stage, Errno)> {
        let is_its = self.lent[ticket.index].serial == ticket.serial;
        is_its.then(|| self.slot(ticket).failure()).flatten()
    }
}

//! Pseudo-terminals.

use crate::sys::{self, Fd, O_CLOEXEC, O_NOCTTY, O_RDWR, Result};

const TIOCSWINSZ: usize = 0x5414;
const TIOCSPTLCK: usize = 0x4004_5431;
const TIOCGPTPEER: usize = 0x5441;

/// Opens one of this size, of the container's own: the end that shows it, and the
/// terminal itself.
pub(crate) fn open(rows: u16, columns: u16) -> Result<(Fd, Fd)> {
    let controller = sys::open(c"/dev/ptmx", O_RDWR | O_NOCTTY)?;
    let unlocked = 0_i32;
    let flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
    // SAFETY: the first reads a number, and the second makes a descriptor.
    let terminal = unsafe {
        sys::ioctl(
            controller.number(),
            TIOCSPTLCK,
            &raw const unlocked as usize,
        )?;
        let terminal = sys::ioctl(controller.number(), TIOCGPTPEER, flags)?;
        Fd::own(terminal as i32)
    };
    resize(&controller, rows, columns)?;
    Ok((controller, terminal))
}

pub(crate) fn resize(controller: &Fd, rows: u16, columns: u16) -> Result<()> {
    let size = [rows, columns, 0, 0];
    // SAFETY: the array is a winsize.
    unsafe { sys::ioctl(controller.number(), TIOCSWINSZ, &raw const size as usize) }.map(drop)
}

//! By what a command's processes are known again: a variable in their environment.
//!
//! A process that has left its session and lost its parent is in no relation to the
//! command that it came from. It still has the command's environment.

use crate::sys::{self, Fd};

/// The variable's name. Its value is the agent's token and the command's number.
const NAME: &[u8] = b"APPTAINER_RS_EXEC=";

const TOKEN: usize = 16;
/// Digits of a command's number.
const NUMBER: usize = 16;
const LENGTH: usize = NAME.len() + 2 * TOKEN + 1 + NUMBER + 1;

/// `APPTAINER_RS_EXEC=TOKEN.NUMBER`, both in hexadecimal, and a NUL.
#[derive(Clone, Copy)]
pub(crate) struct Mark([u8; LENGTH]);

impl Mark {
    pub(crate) fn new(token: &[u8; TOKEN], id: u64) -> Self {
        let mut text = [0; LENGTH];
        let mut at = 0;
        let mut put = |byte: u8| {
            text[at] = byte;
            at += 1;
        };
        for byte in NAME {
            put(*byte);
        }
        for byte in token {
            put(digit(byte >> 4));
            put(digit(byte & 15));
        }
        put(b'.');
        for nibble in (0..NUMBER).rev() {
            put(digit((id >> (4 * nibble)) as u8 & 15));
        }
        Self(text)
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
}

/// The number of the command that an environment, which is read from this file, marks
/// as its own; `None` where no mark with this token is in it.
pub(crate) fn find(token: &[u8; TOKEN], environ: &Fd) -> Option<u64> {
    let Mark(wanted) = Mark::new(token, 0);
    let wanted = &wanted[..LENGTH - NUMBER - 1];
    // It is a command's first variable, but its children may set others before it.
    let mut buffer = [0; 4096];
    let mut kept = 0;
    loop {
        let Ok(read @ 1..) = sys::read(environ, &mut buffer[kept..]) else {
            return None;
        };
        let held = &buffer[..kept + read];
        let mut windows = held.windows(LENGTH);
        if let Some(found) = windows.find(|window| window.starts_with(wanted)) {
            return parse(&found[wanted.len()..LENGTH - 1]);
        }
        let end = held.len();
        kept = end.min(LENGTH - 1);
        buffer.copy_within(end - kept..end, 0);
    }
}

fn parse(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u64::from(value))
    })
}

fn digit(nibble: u8) -> u8 {
    b"0123456789abcdef"[usize::from(nibble & 15)]
}

/// Whether a variable is one of these.
pub(crate) fn is_mark(variable: &[u8]) -> bool {
    variable.starts_with(NAME)
}

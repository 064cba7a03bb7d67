//! What an instance writes to its standard output and standard error.
//!
//! Its processes have the two logs open for appending, and nobody stands between: what they
//! write is there whoever watches. An output is one sequence of bytes, counted from the first
//! that was ever written; [`view`] says in which file each lies at a moment.
//!
//! Beside `NAME.out` lie, when they are asked for:
//!
//! - `NAME.out.1`, `NAME.out.2` ..: what was rotated away, the newest first;
//! - `NAME.out.rotation`: how much that was, and what is being done now ([`record`]);
//! - `NAME.out.next`: what is being rotated away;
//! - `NAME.out.times`, `NAME.out.1.times` ..: when what was written was seen ([`times`]).

mod error;
mod files;
mod keeper;
mod lines;
mod log;
mod output;
mod read;
mod record;
mod rotate;
mod settings;
mod tail;
#[cfg(test)]
mod tests;
mod times;
mod turn;
mod view;
mod watch;

pub use error::LogError;
pub use lines::{LogLine, LogLines};
pub use read::ReadLogs;
pub use settings::LogSettings;

pub(in crate::instance) use files::remove;
pub(in crate::instance) use keeper::{Halt, Halting, Keeper, keep};
pub(in crate::instance) use log::ends;

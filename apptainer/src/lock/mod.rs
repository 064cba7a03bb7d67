//! Locks that are files, of which nothing stays behind.
//!
//! One that counts between nodes is a [flock] where the file system passes those on,
//! and else a [lease].

mod detect;
mod face;
mod flock;
mod lease;
mod locking;
mod renewal;
mod term;
#[cfg(test)]
mod tests;

pub(crate) use face::FileLock;
pub(crate) use flock::is_at;
pub use locking::Locking;

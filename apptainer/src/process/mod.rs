//! Processes of `apptainer`, awaited, and ended without leaving anything.

mod end;
mod reaper;
mod running;
mod tail;

pub(crate) use end::{kill, kill_payload, signal_payload};
pub(crate) use running::{Ended, OnDrop, Running};
pub(crate) use tail::{Tail, read_available};

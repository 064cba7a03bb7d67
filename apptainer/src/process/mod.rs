//! Processes of `apptainer`, awaited, and ended without leaving anything.

mod capture;
mod end;
mod ended;
mod reaper;
mod root;
mod running;
mod tail;

pub(crate) use capture::{CaptureError, output};
pub(crate) use ended::Ended;
pub(crate) use root::Root;
pub(crate) use running::{OnDrop, Running};
pub(crate) use tail::{Tail, read_available};

//! Processes of `apptainer`, awaited, and ended without leaving anything.

mod end;
mod ended;
mod reaper;
mod root;
mod run;
mod running;
mod tail;

pub(crate) use end::INIT;
pub(crate) use ended::Ended;
pub(crate) use root::Root;
pub(crate) use run::{Ended as RunEnded, Keep, Run, RunError};
pub(crate) use running::{OnDrop, Running};
pub(crate) use tail::{Tail, read_available};

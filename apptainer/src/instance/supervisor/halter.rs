//! Halting what writes to a log.

use std::io;
use std::sync::Arc;

use apptainer_sys::cgroup::Cgroup;

use crate::blocking::blocking;
use crate::instance::limits::LimitError;
use crate::instance::logs::{Halt, Halting};
use crate::instance::pause::{Pause, Who};
use crate::instance::processes::Processes;

/// Halts all that runs in an instance, while its logs are turned over.
#[derive(Debug)]
pub(super) struct Halter {
    pub(super) processes: Arc<Processes>,
    pub(super) group: Option<Cgroup>,
    pub(super) paused: Arc<Pause>,
}

impl Halt for Halter {
    fn halt(&self) -> Halting<'_> {
        let (group, processes) = (self.group.clone(), Arc::clone(&self.processes));
        let paused = Arc::clone(&self.paused);
        Box::pin(async move {
            let halt = move || paused.halt(Who::Logs, group.as_ref(), &processes);
            blocking(halt).await.map(drop).map_err(other)
        })
    }

    fn resume(&self) -> Halting<'_> {
        let paused = Arc::clone(&self.paused);
        Box::pin(async move {
            let resumed = blocking(move || paused.resume(Who::Logs)).await;
            resumed.map_err(other)
        })
    }
}

fn other(error: LimitError) -> io::Error {
    io::Error::other(error)
}

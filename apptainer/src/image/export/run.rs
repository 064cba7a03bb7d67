//! Running programs.

use std::any::Any;
use std::io;
use std::path::Path;
use std::time::Duration;

use apptainer_sys::process::Spawn;

use super::ExportError;
use super::error::read_error;
use crate::image::deadline;
use crate::process::{Keep, Run, RunEnded, RunError};

/// Runs a program until it ends: the caller drops this where that takes too long.
pub(super) async fn run(
    program: &Path,
    make: impl Fn() -> Result<Spawn, ExportError>,
    kept: impl Any + Send,
) -> Result<RunEnded, ExportError> {
    let run = Run {
        deadline: deadline(Duration::MAX),
        stdout: Keep::End,
        heard: &mut |_| (),
    };
    run.run(make, kept).await.map_err(|error| match error {
        RunError::Make(error) => error,
        RunError::Spawn(error) => error.into(),
        RunError::Io(error) => read_error(program)(error),
        RunError::TimedOut => read_error(program)(io::ErrorKind::TimedOut.into()),
    })
}

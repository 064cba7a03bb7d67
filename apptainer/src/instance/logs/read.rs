//! What of an instance's logs is to be read, and how.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use apptainer_sys::process::PidFd;

use super::LogError;
use super::lines::{Follow, LogLines, Outputs};
use super::log::Log;
use super::output::{Extent, Output};
use super::tail::tail;
use super::watch::Watch;
use crate::blocking::blocking;
use crate::exec::Source;
use crate::process::Ended;

/// What of an instance's logs is to be read, and how. By default all that is there, of both
/// outputs, without times.
///
/// ```no_run
/// # async fn example(instance: apptainer::Instance) -> Result<(), Box<dyn std::error::Error>> {
/// let mut lines = instance.read_logs().tail(100).follow(true).lines().await?;
/// while let Some(line) = lines.next().await {
///     let line = line?;
///     println!("{:?}: {}", line.source, line.text());
/// }
/// println!("it has ended");
/// # Ok(())
/// # }
/// ```
///
/// The two outputs are two files, and nothing tells in which order they were written to, but
/// for the times where those are kept. With [`timestamps`](Self::timestamps) lines come in the
/// order of these; those that were seen together, and all without times, come by turns of up
/// to 64 KiB, standard output first. Lines of one output are always in order.
#[derive(Debug)]
#[must_use = "nothing is read unless `lines` is called"]
pub struct ReadLogs {
    logs: [PathBuf; 2],
    starts: [u64; 2],
    pub(super) process: io::Result<PidFd>,
    sources: [bool; 2],
    tail: Option<u64>,
    follow: bool,
    has_times: bool,
    since: Option<SystemTime>,
}

impl ReadLogs {
    /// Of logs, from these places on: how much had been written when the instance was
    /// started. Who follows them does so until the process has ended.
    pub(in crate::instance) fn new(
        logs: [PathBuf; 2],
        starts: [u64; 2],
        process: io::Result<PidFd>,
    ) -> Self {
        Self {
            logs,
            starts,
            process,
            sources: [true; 2],
            tail: None,
            follow: false,
            has_times: false,
            since: None,
        }
    }

    /// Whether to read standard output: yes unless this is called.
    pub fn stdout(mut self, is_read: bool) -> Self {
        self.sources[0] = is_read;
        self
    }

    /// Whether to read standard error: yes unless this is called.
    pub fn stderr(mut self, is_read: bool) -> Self {
        self.sources[1] = is_read;
        self
    }

    /// Begins with the last `lines` lines of each output. With [`follow`](Self::follow), 0 is
    /// only what is written from now on.
    pub fn tail(mut self, lines: u64) -> Self {
        self.tail = Some(lines);
        self
    }

    /// Whether to go on when all has been read that is there, with what the instance writes,
    /// until it has ended.
    pub fn follow(mut self, is_followed: bool) -> Self {
        self.follow = is_followed;
        self
    }

    /// Whether to tell when lines were written, where that [is kept](super::LogSettings).
    pub fn timestamps(mut self, are_told: bool) -> Self {
        self.has_times = are_told;
        self
    }

    /// Leaves out lines that had been written before `time`. Where no times are kept, reading
    /// fails with [`LogError::NoTimes`].
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// The lines. What is there is what is there now, whenever it is read.
    pub async fn lines(mut self) -> Result<LogLines, LogError> {
        // Before anything is read, so that nothing comes in between.
        let follow = self.follow.then(|| self.watch()).transpose();
        let follow = follow.map_err(LogError::Watch)?;
        let outputs = blocking(move || self.outputs()).await?;
        Ok(LogLines::new(outputs, follow))
    }

    fn watch(&mut self) -> io::Result<Follow> {
        let gone = || Err(io::ErrorKind::NotFound.into());
        let process = std::mem::replace(&mut self.process, gone())?;
        Ok(Follow {
            watch: Watch::of(&self.logs)?,
            ended: Ended::of(&process)?,
        })
    }

    fn outputs(self) -> Result<Outputs, LogError> {
        let mut outputs = Vec::new();
        let named = [Source::Stdout, Source::Stderr]
            .into_iter()
            .zip(self.sources);
        for ((source, is_read), (path, start)) in named.zip(self.logs.iter().zip(self.starts)) {
            if is_read {
                let output = self.output(source, path, start);
                outputs.push(output.map_err(|source| LogError::Io {
                    path: path.clone(),
                    source,
                })?);
            }
        }
        Ok(Outputs::new(outputs))
    }

    fn output(&self, source: Source, path: &Path, start: u64) -> io::Result<Output> {
        let mut log = Log::new(path.to_owned());
        let (mut start, end) = log.look(|view| {
            // Past the end: somebody has emptied the log since.
            let start = if start > view.end { view.start } else { start };
            Ok((view.oldest_from(start)?, view.end))
        })?;
        if let Some(lines) = self.tail {
            start = tail(&mut log, start, end, lines)?;
        }
        let extent = Extent {
            start,
            until: (!self.follow).then_some(end),
            has_times: self.has_times || self.since.is_some(),
            since: self.since,
        };
        Ok(Output::new(source, log, &extent))
    }
}

//! What keeps logs within bounds, and the times.

use std::fmt::Debug;
use std::fs::File;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::files::times_of;
use super::log::Log;
use super::rotate::Rotation;
use super::settings::LEAST_SIZE;
use super::watch::Watch;
use super::{LogSettings, times};
use crate::blocking::blocking;

/// How the processes that write to a log are kept from it for a moment.
pub(in crate::instance) trait Halt: Debug + Send + Sync {
    /// Halts them: when it is done, none of them writes.
    fn halt(&self) -> Halting<'_>;

    /// Lets them go on. Called after each [`halt`](Self::halt), one that failed included.
    fn resume(&self) -> Halting<'_>;
}

/// Halting, or letting go on.
pub(in crate::instance) type Halting<'a> =
    Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// How often logs are looked at while something is written to them.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a log is left alone that could not be rotated.
const LATER: Duration = Duration::from_secs(10);

/// Rotates the logs of an instance and keeps the times, until it is dropped. Nothing is lost
/// then, only done later.
#[derive(Debug)]
pub(in crate::instance) struct Keeper {
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Does to an instance's logs what the settings say; `None` when that is nothing. The logs must
/// be there. Finishes first what was cut off when another was killed: processes that have been
/// halted since must stay so until then, see [`Halt`].
///
/// Must be called in a tokio runtime.
pub(in crate::instance) fn keep(
    settings: &LogSettings,
    logs: [PathBuf; 2],
    halt: Arc<dyn Halt>,
) -> io::Result<Option<Keeper>> {
    if settings.max_size.is_none() && !settings.timestamps {
        return Ok(None);
    }
    if settings.timestamps {
        // Whoever reads from now on finds that they are kept.
        for log in &logs {
            let times = File::options()
                .create(true)
                .append(true)
                .open(times_of(log));
            times?;
        }
    }
    let watch = Watch::of(&logs)?;
    let mut kept: Vec<_> = logs
        .into_iter()
        .map(|log| Kept::new(log, settings))
        .collect();
    let task = tokio::spawn(async move {
        if let Err(error) = run(&watch, &mut kept, &halt).await {
            tracing::warn!(%error, "logs are no longer rotated");
        }
    });
    Ok(Some(Keeper { task }))
}

async fn run(watch: &Watch, kept: &mut Vec<Kept>, halt: &Arc<dyn Halt>) -> io::Result<()> {
    loop {
        for mut one in std::mem::take(kept) {
            if let Err(error) = one.look(halt).await {
                let path = one.path.display();
                tracing::warn!(%error, %path, "cannot look after a log; trying again later");
                one.not_before = Some(Instant::now() + LATER);
            }
            kept.push(one);
        }
        tokio::time::sleep(PAUSE).await;
        match kept.iter().filter_map(|one| one.not_before).min() {
            None => watch.changed().await?,
            Some(time) => tokio::select! {
                changed = watch.changed() => changed?,
                () = tokio::time::sleep_until(time) => {}
            },
        }
    }
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    /// Away while it is read.
    log: Option<Log>,
    rotation: Option<Rotation>,
    has_times: bool,
    not_before: Option<Instant>,
}

/// What there is of a log.
struct Seen {
    length: u64,
    is_pending: bool,
}

impl Kept {
    fn new(path: PathBuf, settings: &LogSettings) -> Self {
        let log = Log::new(path.clone());
        let rotation = settings.max_size.map(|size| {
            let size = size.max(LEAST_SIZE);
            Rotation::new(&log.files, size, settings.max_files)
        });
        Self {
            path,
            log: Some(log),
            rotation,
            has_times: settings.timestamps,
            not_before: None,
        }
    }

    /// Takes note of what is new, and rotates what is too long.
    async fn look(&mut self, halt: &Arc<dyn Halt>) -> io::Result<()> {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Ok(());
        }
        self.not_before = None;
        loop {
            let seen = self.see().await?;
            let Some(rotation) = &mut self.rotation else {
                return Ok(());
            };
            if !seen.is_pending && !rotation.is_due(seen.length) {
                return Ok(());
            }
            if !rotation.rotate(halt).await? {
                return Ok(());
            }
        }
    }

    async fn see(&mut self) -> io::Result<Seen> {
        let mut log = self
            .log
            .take()
            .unwrap_or_else(|| Log::new(self.path.clone()));
        let index = self.has_times.then(|| times_of(&self.path));
        let (log, seen) = blocking(move || {
            let seen = log.look(|view| {
                if let Some(index) = index.as_deref().filter(|_| view.end > 0) {
                    times::note(index, view.end, SystemTime::now())?;
                }
                Ok(Seen {
                    length: view.log_length(),
                    is_pending: view.record.pending.is_some(),
                })
            });
            (log, seen)
        })
        .await;
        self.log = Some(log);
        seen
    }
}

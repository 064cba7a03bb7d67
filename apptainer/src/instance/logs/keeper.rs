//! What keeps logs within bounds, and the times.

use std::fmt::Debug;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
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

/// How long the last look may take.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Rotates the logs of an instance and keeps the times, until it is dropped. Nothing is lost
/// then, only done later.
#[derive(Debug)]
pub(in crate::instance) struct Keeper {
    task: JoinHandle<()>,
    finish: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// Looks once more, for what was written last, and waits until all is done: for logs that
    /// nobody writes to any more, and that may be removed then.
    pub(in crate::instance) async fn finish(mut self) {
        if let Some(finish) = self.finish.take() {
            // Where it has given up, there is no last look.
            let _ = finish.send(());
        }
        if tokio::time::timeout(LAST_LOOK, &mut self.task)
            .await
            .is_err()
        {
            tracing::warn!("logs cannot be looked at for the last time");
        }
    }
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
                .mode(0o600)
                .open(times_of(log));
            times?;
        }
    }
    let watch = Watch::of(&logs)?;
    let mut kept: Vec<_> = logs
        .into_iter()
        .map(|log| Kept::new(log, settings))
        .collect();
    let (finish, finished) = oneshot::channel();
    let task = tokio::spawn(async move {
        if let Err(error) = run(&watch, &mut kept, &halt, finished).await {
            tracing::warn!(%error, "logs are no longer rotated");
        }
    });
    Ok(Some(Keeper {
        task,
        finish: Some(finish),
    }))
}

async fn run(
    watch: &Watch,
    kept: &mut [Kept],
    halt: &Arc<dyn Halt>,
    mut finished: oneshot::Receiver<()>,
) -> io::Result<()> {
    loop {
        let is_more = look(kept, halt).await;
        let later = kept.iter().filter_map(|one| one.not_before).min();
        let idle = async {
            if is_more {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            match later {
                None => watch.changed().await,
                Some(time) => tokio::select! {
                    changed = watch.changed() => changed,
                    () = tokio::time::sleep_until(time) => Ok(()),
                },
            }
        };
        tokio::select! {
            biased;
            _ = &mut finished => break,
            idled = idle => idled?,
        }
    }
    for one in &mut *kept {
        one.not_before = None;
    }
    while look(kept, halt).await {}
    Ok(())
}

/// Looks at each once, so that none keeps another waiting; says whether there is more to do.
async fn look(kept: &mut [Kept], halt: &Arc<dyn Halt>) -> bool {
    let mut is_more = false;
    for one in kept {
        match one.look(halt).await {
            Ok(has_rotated) => is_more |= has_rotated,
            Err(error) => {
                let path = one.path.display();
                tracing::warn!(%error, %path, "cannot look after a log; trying again later");
                one.not_before = Some(Instant::now() + LATER);
            }
        }
    }
    is_more
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

    /// Takes note of what is new, and rotates what is too long, once; says whether it did, and
    /// is to look again.
    async fn look(&mut self, halt: &Arc<dyn Halt>) -> io::Result<bool> {
        if self.not_before.is_some_and(|time| Instant::now() < time) {
            return Ok(false);
        }
        self.not_before = None;
        let seen = self.see().await?;
        match &mut self.rotation {
            Some(rotation) if seen.is_pending || rotation.is_due(seen.length) => {
                rotation.rotate(halt).await
            }
            _ => Ok(false),
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

//! Looking again and again at what an instance uses, where nothing keeps it from using more.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apptainer_sys::process::{Member, Signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::record::Known;
use super::threads;
use crate::blocking::blocking;
use crate::instance::processes::Processes;
use crate::instance::usage::Memory;

/// How long between two looks, unless they take long themselves.
const INTERVAL: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// A look takes at most one in so many of a CPU's time.
const SHARE: u32 = 20;

/// How often the payload is killed before the first process is, which nothing survives.
const PATIENCE: u32 = 10;

/// A limit that was not kept, so that what ran was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::instance) enum Exceeded {
    /// Memory, in bytes.
    Memory { used: u64, limit: u64 },
    /// Processes and threads.
    Processes { count: u64, limit: u64 },
}

/// What a watchdog looks at.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) processes: Arc<Processes>,
    /// What ran before the payload did, which counts for nothing and is let live.
    pub(super) before: HashSet<Known>,
    pub(super) memory: Option<u64>,
    pub(super) threads: Option<u64>,
}

/// A task that looks; dropped, it ends.
#[derive(Debug)]
pub(super) struct Watchdog {
    task: JoinHandle<()>,
    exceeded: mpsc::Receiver<Exceeded>,
}

impl Watchdog {
    /// Begins to look, in a task of the current runtime.
    pub(super) fn start(watched: Watched) -> Self {
        tracing::warn!(
            memory = watched.memory,
            threads = watched.threads,
            "no cgroup is to be had: a watchdog looks at what the instance uses"
        );
        // One is enough to know of; when nobody takes it, more are dropped.
        let (tell, exceeded) = mpsc::channel(1);
        let task = tokio::spawn(watch(watched, tell));
        Self { task, exceeded }
    }

    /// What was exceeded next. Waits for ever once nothing runs any more. Cancel safe.
    pub(super) async fn next(&mut self) -> Exceeded {
        match self.exceeded.recv().await {
            Some(exceeded) => exceeded,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(watched: Watched, tell: mpsc::Sender<Exceeded>) {
    let mut pause = INTERVAL;
    let mut excesses = 0;
    let mut warn = Warn::default();
    loop {
        tokio::time::sleep(pause).await;
        let started = Instant::now();
        let looking = watched.clone();
        let looked = blocking(move || looking.look(excesses >= PATIENCE)).await;
        pause = (started.elapsed() * SHARE).clamp(INTERVAL, LONGEST);
        match looked {
            Ok(Look::Ended) => return,
            Ok(Look::Within) => excesses = 0,
            Ok(Look::Exceeded { exceeded, killed }) => {
                excesses += 1;
                if excesses == 1 {
                    tracing::warn!(
                        ?exceeded,
                        "an instance uses more than it may, and is killed"
                    );
                    let _ = tell.try_send(exceeded);
                }
                pause = INTERVAL;
                if let Err(error) = killed {
                    warn.about(&error, "cannot kill all of an instance that uses too much");
                }
            }
            Err(error) => warn.about(&error, "cannot look at what an instance uses"),
        }
    }
}

/// Warns once: what fails at one look fails at the next.
#[derive(Default)]
struct Warn {
    is_done: bool,
}

impl Warn {
    fn about(&mut self, error: &io::Error, what: &str) {
        if !std::mem::replace(&mut self.is_done, true) {
            tracing::warn!(%error, "{what}");
        }
    }
}

enum Look {
    Ended,
    Within,
    /// With the first reason, if any, why not all could be killed.
    Exceeded {
        exceeded: Exceeded,
        killed: io::Result<()>,
    },
}

impl Watched {
    /// Looks once, and kills what is more than there may be.
    fn look(&self, at_all_costs: bool) -> io::Result<Look> {
        let all = self.processes.members()?;
        if all.is_empty() {
            return Ok(Look::Ended);
        }
        let is_payload = |member: &Member| !self.before.contains(&Known::of(&member.process));
        let payload: Vec<Member> = all.into_iter().filter(is_payload).collect();
        let Some(exceeded) = self.exceeded(&payload)? else {
            return Ok(Look::Within);
        };
        // One that may not be signalled does not keep the others alive.
        let mut killed = Ok(());
        if at_all_costs {
            killed = killed.and(self.processes.kill());
        }
        for member in &payload {
            killed = killed.and(member.pidfd.signal(Signal::KILL));
        }
        Ok(Look::Exceeded { exceeded, killed })
    }

    fn exceeded(&self, payload: &[Member]) -> io::Result<Option<Exceeded>> {
        if let Some(limit) = self.memory {
            let used = Memory::beyond(payload, limit)?;
            if used > limit {
                return Ok(Some(Exceeded::Memory { used, limit }));
            }
        }
        if let Some(limit) = self.threads {
            let mut count = 0;
            for member in payload {
                count += threads::of(member.process.pid)?;
            }
            if count > limit {
                return Ok(Some(Exceeded::Processes { count, limit }));
            }
        }
        Ok(None)
    }
}

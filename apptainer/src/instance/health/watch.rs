//! Asking an instance for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as value};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::ask::Target;
use super::failure::ProbeFailure;
use super::schedule::Schedule;
use super::settings::Health;

pub(in crate::instance) use super::schedule::Verdict;

/// What a probe said.
#[derive(Debug, Clone)]
pub(in crate::instance) struct Report {
    /// How long it took, or why it did not pass.
    pub(in crate::instance) result: Result<Duration, ProbeFailure>,
    /// How many failures on end count by now.
    pub(in crate::instance) streak: u32,
    /// What is to be made of it.
    pub(in crate::instance) verdict: Verdict,
}

/// An instance that is asked again and again, by a task that ends when this is dropped.
#[derive(Debug)]
pub(in crate::instance) struct Watch {
    reports: mpsc::Receiver<Report>,
    is_halted: value::Sender<bool>,
    task: JoinHandle<()>,
}

/// How many reports may wait to be taken; then nothing is asked until one is.
const WAITING: usize = 16;

/// Begins to ask an instance, at once.
pub(in crate::instance) fn watch(health: Health, target: Target) -> Watch {
    let asked = Arc::new((target, health.probe.clone()));
    let ask = move || {
        let asked = Arc::clone(&asked);
        async move { asked.0.ask(&asked.1).await }
    };
    watch_by(health, ask)
}

fn watch_by<A>(health: Health, ask: impl Fn() -> A + Send + 'static) -> Watch
where
    A: Future<Output = Result<(), ProbeFailure>> + Send + 'static,
{
    let (to, reports) = mpsc::channel(WAITING);
    let (is_halted, halts) = value::channel(false);
    let task = tokio::spawn(run(health, ask, to, halts));
    Watch {
        reports,
        is_halted,
        task,
    }
}

impl Watch {
    /// The next report: of each probe that failed, and of one that passed where that changes
    /// the verdict. Waits for as long as there is none.
    ///
    /// Cancel-safe.
    pub(in crate::instance) async fn next(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            // The runtime is going down.
            None => std::future::pending().await,
        }
    }

    /// Asks nothing until it is [resumed](Self::resume), while the instance is frozen. A probe
    /// that is under way is given up and does not count.
    pub(in crate::instance) fn pause(&self) {
        self.is_halted.send_replace(true);
    }

    /// Asks on, at once.
    pub(in crate::instance) fn resume(&self) {
        self.is_halted.send_replace(false);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run<A>(
    health: Health,
    ask: impl Fn() -> A,
    reports: mpsc::Sender<Report>,
    mut halts: value::Receiver<bool>,
) where
    A: Future<Output = Result<(), ProbeFailure>>,
{
    let mut schedule = Schedule::new(&health, Instant::now());
    loop {
        let began = Instant::now();
        if halts.wait_for(|is_halted| !is_halted).await.is_err() {
            return;
        }
        schedule.was_halted(began.elapsed());
        let began = Instant::now();
        let answer = tokio::select! {
            biased;
            _ = halts.wait_for(|is_halted| *is_halted) => continue,
            answer = timeout(health.timeout, ask()) => answer,
        };
        let after = health.timeout;
        let answer = answer.unwrap_or(Err(ProbeFailure::TimedOut { after }));
        let last = schedule.verdict();
        schedule.record(answer.is_ok(), Instant::now());
        let report = Report {
            result: answer.map(|()| began.elapsed()),
            streak: schedule.streak(),
            verdict: schedule.verdict(),
        };
        let is_news = report.result.is_err() || report.verdict != last;
        if is_news && reports.send(report).await.is_err() {
            return;
        }
        tokio::select! {
            biased;
            _ = halts.wait_for(|is_halted| *is_halted) => {}
            () = sleep(schedule.pause()) => {}
        }
    }
}

#[cfg(test)]
mod tests;

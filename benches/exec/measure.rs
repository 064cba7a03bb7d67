//! Measuring: rounds in which every subject has its turn.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::report::Row;
use crate::resident::Resident;
use crate::rows::{percentile, sorted};
use crate::subject::{self, ALONE, AS_ROOT, AS_USER, FROM_LARGE, STREAMED, STREAMED_MIB, Subject};

/// How long a turn's runs go that do not count.
const SETTLE: Duration = Duration::from_millis(20);
/// How long its runs go that do, about.
const TURN: Duration = Duration::from_millis(10);
/// How many those are at most.
const MOST: u32 = 8;
/// How many commands are under way where rates are measured.
const AT_ONCE: usize = 64;
/// How long new ones are started there.
const RATE: Duration = Duration::from_secs(3);
const RATES: usize = 3;
/// How long new streams are started, in a turn.
const STREAM: Duration = Duration::from_secs(1);
const STREAMS: usize = 5;

/// Measures all subjects of this user's pass whose engines run.
pub(crate) async fn all(rounds: usize) -> Vec<Row> {
    let mut entries = entries().await;
    let started = Instant::now();
    for entry in &mut entries {
        entry.settle().await;
    }
    for round in 0..rounds {
        for index in order(round, entries.len()) {
            entries[index].turn().await;
        }
    }
    for round in 0..STREAMS.min(rounds) {
        for index in order(round, entries.len()) {
            entries[index].stream().await;
        }
    }
    for round in 0..RATES.min(rounds) {
        for index in order(round, entries.len()) {
            entries[index].rate().await;
        }
    }
    for entry in &entries {
        let (runs, streams) = (entry.times.len(), entry.streams.len());
        eprintln!("{}: {runs} runs and {streams} streams counted", entry.name);
    }
    eprintln!(
        "{rounds} rounds took {:.0} s",
        started.elapsed().as_secs_f64()
    );
    entries.into_iter().map(Entry::into_row).collect()
}

async fn entries() -> Vec<Entry> {
    let as_root = nix::unistd::geteuid().is_root();
    let names = if as_root { AS_ROOT } else { AS_USER };
    let mut entries = Vec::new();
    for name in names {
        match subject::make(name).await {
            Some(subject) => entries.push(Entry::new((*name).to_owned(), Way::Here(subject))),
            None => eprintln!("{name}: not measured, scripts/with-engines did not start it"),
        }
    }
    let mut resident = None;
    for name in FROM_LARGE.iter().filter(|name| names.contains(name)) {
        let resident = resident.get_or_insert_with(|| Rc::new(Resident::start()));
        let way = Way::FromLarge(name, Rc::clone(resident));
        entries.push(Entry::new(format!("{name}, 4 GiB"), way));
    }
    entries
}

/// In which order the entries have their turns: it rotates, and every other round
/// goes the other way.
fn order(round: usize, entries: usize) -> impl Iterator<Item = usize> {
    (0..entries).map(move |step| {
        let step = if round.is_multiple_of(2) {
            step
        } else {
            entries - 1 - step
        };
        (round / 2 + step) % entries
    })
}

/// Where a subject runs.
enum Way {
    Here(Rc<dyn Subject>),
    FromLarge(&'static str, Rc<Resident>),
}

/// A subject, and what has been measured of it.
struct Entry {
    name: String,
    way: Way,
    times: Vec<Duration>,
    rates: Vec<f64>,
    streams: Vec<f64>,
}

impl Entry {
    fn new(name: String, way: Way) -> Self {
        Self {
            name,
            way,
            times: Vec::new(),
            rates: Vec::new(),
            streams: Vec::new(),
        }
    }

    /// One run.
    async fn time(&self) -> Duration {
        match &self.way {
            Way::Here(subject) => {
                let begin = Instant::now();
                subject.run_once().await;
                begin.elapsed()
            }
            Way::FromLarge(name, resident) => resident.time(name).await,
        }
    }

    /// Runs that do not count; how long the last took.
    async fn settle(&self) -> Duration {
        let begin = Instant::now();
        loop {
            let took = self.time().await;
            if begin.elapsed() >= SETTLE {
                return took;
            }
        }
    }

    async fn turn(&mut self) {
        let took = self.settle().await;
        let runs = (TURN.as_micros() / took.as_micros().max(1)).clamp(1, u128::from(MOST));
        for _ in 0..runs {
            let took = self.time().await;
            self.times.push(took);
        }
    }

    async fn stream(&mut self) {
        let Way::Here(subject) = &self.way else {
            return;
        };
        let turn = Instant::now();
        while turn.elapsed() < STREAM {
            let begin = Instant::now();
            let Some(stream) = subject.stream() else {
                return;
            };
            assert_eq!(stream.await, STREAMED, "{}", self.name);
            let took = begin.elapsed();
            self.streams.push(STREAMED_MIB / took.as_secs_f64());
        }
    }

    async fn rate(&mut self) {
        let Way::Here(subject) = &self.way else {
            return;
        };
        if ALONE.contains(&self.name.as_str()) {
            return;
        }
        let thread = LocalSet::new();
        let mut workers = JoinSet::new();
        let begin = Instant::now();
        for _ in 0..AT_ONCE {
            let subject = Rc::clone(subject);
            let worker = async move {
                let mut runs = 0_u32;
                while begin.elapsed() < RATE {
                    subject.run_once().await;
                    runs += 1;
                }
                runs
            };
            workers.spawn_local_on(worker, &thread);
        }
        let runs: u32 = thread.run_until(workers.join_all()).await.into_iter().sum();
        self.rates
            .push(f64::from(runs) / begin.elapsed().as_secs_f64());
    }

    fn into_row(self) -> Row {
        let micros = self.times.iter().map(|took| took.as_secs_f64() * 1e6);
        let micros = sorted(micros.collect());
        Row {
            name: self.name,
            p50_us: percentile(&micros, 50),
            p99_us: percentile(&micros, 99),
            per_s: percentile(&sorted(self.rates), 50),
            mib_s: percentile(&sorted(self.streams), 50),
        }
    }
}

//! What it costs to have instances under supervision: starting and stopping them against
//! `apptainer instance`, keeping them idle, and having one from a warm pool against
//! `docker run`.
//!
//! Instances are of a SIF file with busybox, which is there already, and have a configuration
//! of their own in the temporary directory. Everything is done as an ordinary user, Docker's
//! daemon is root. Four things are measured.
//!
//! - *Start and stop*: `Supervisor::start` until `Service::ready`, against `apptainer instance
//!   start` of the same file as a program that is waited for; then `Service::stop` against
//!   `apptainer instance stop`, until each says that it is done. Once without a payload and once
//!   with one, the image's startscript, which is `exec sleep 10000`, and obeys. In a round each
//!   has its turn, in an order that rotates. Starting is to take 5 ms longer at most, stopping a
//!   fifth, and 150 ms at most.
//! - *At once*: 48 instances, started 16 at a time, against `apptainer instance start` by 16
//!   threads, in turn: instances per second until the last is there. Then they are ended, which
//!   is not counted. At most three rounds.
//! - *Idle*: what instances cost that have a payload which sleeps, and no health check. Of the
//!   supervising program: its resident memory (`smaps_rollup`, of its own) and its descriptors
//!   with 0, 50 and 200 of them, the difference of 200 and 50 by 150; and what it spends in 10
//!   seconds: processor time by the scheduler's own count, and how often any of its threads has
//!   waited, this measurement included. 200 are to cost 1 ms more than none at most. Of one instance, as the median of 200: the agent's memory and that of
//!   each of its other processes, which are Apptainer's own or the payload.
//! - *Pool*: an instance from a warm pool, with and without a command and what that writes,
//!   against `docker run` of the same command, which is busybox's `true`, in a container
//!   of the same files without a network. In a turn of the pool's four are had, one after the
//!   other, when all are ready, and given back after that: no other is started meanwhile. The
//!   command is of a file that is in memory, as Docker's is from the second container on, or of
//!   the image, which each instance reads through a FUSE file system of its own. A check-out is
//!   to take a fiftieth, with a command in memory too.
//!
//! ```text
//! instances [ROUNDS] [PART..]          measures, and prints tables
//! instances --rows [ROUNDS] [PART..]   the same, printed as JSON
//! instances --report OUT ROWS..        prints tables of such passes, and writes them to OUT
//! instances --archive                  makes the files for Docker, and prints where they are
//! ```
//!
//! A part is `start`, `at-once`, `idle` or `pool`; all otherwise. `scripts/bench instances` runs
//! `idle` in a process of its own, so that memory of the others' is not counted, and `pool` while
//! Docker's daemon runs.

mod at_once;
mod idle;
mod life;
mod memory;
mod place;
mod pool;
#[path = "../report.rs"]
mod report;
#[path = "../rows.rs"]
mod rows;

use std::path::Path;
use std::process::ExitCode;

use report::Row;
use tokio::signal::unix::{SignalKind, signal};

const ROUNDS: usize = 40;

#[tokio::main]
async fn main() -> ExitCode {
    // Cargo adds that one.
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    // Told to end, it does so in order: what is dropped takes with it what it started.
    tokio::select! {
        () = run(&words) => ExitCode::SUCCESS,
        () = interrupted() => ExitCode::from(130),
    }
}

async fn run(words: &[&str]) {
    match words {
        ["--rows", parts @ ..] => print!("{}", rows::json(&all(parts).await)),
        ["--report", out, passes @ ..] => {
            let passes = passes.iter().map(|path| rows::read(Path::new(path)));
            let measured: Vec<Row> = passes.flat_map(|pass: Vec<Row>| pass).collect();
            report::print(&measured);
            rows::write(Path::new(out), &measured);
        }
        ["--archive"] => println!("{}", fixtures::busybox_archive().display()),
        parts => report::print(&all(parts).await),
    }
}

/// Measures what is named, or everything, in so many rounds.
async fn all(words: &[&str]) -> Vec<Row> {
    const PARTS: [&str; 4] = ["idle", "start", "at-once", "pool"];
    let words = words.iter().copied();
    let (parts, rounds): (Vec<&str>, Vec<&str>) = words.partition(|word| PARTS.contains(word));
    let rounds = rounds.first().map(|word| word.parse().expect("a number"));
    let rounds = rounds.unwrap_or(ROUNDS);
    let is_wanted = |part| parts.is_empty() || parts.contains(&part);
    let mut rows = Vec::new();
    if is_wanted("idle") {
        rows.extend(idle::all().await);
    }
    if is_wanted("start") {
        rows.extend(life::all(rounds).await);
    }
    if is_wanted("at-once") {
        rows.extend(at_once::all(rounds.min(3)).await);
    }
    if is_wanted("pool") {
        rows.extend(pool::all(rounds).await);
    }
    rows
}

async fn interrupted() {
    let listen = |kind| signal(kind).expect("the runtime has signals");
    let (mut interrupt, mut terminate) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
    );
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
    }
}

//! What it costs to have an image: one that is in the store, one that many want at once,
//! and one that is not there.
//!
//! Everything is asked of a real registry on loopback, `docker-registry`, as an ordinary user,
//! with stores of its own in the temporary directory. Three things are measured.
//!
//! - *A hit*: `Apptainer::image` of what is in the store, by its digest and by a tag under
//!   `PullPolicy::IfOlderThan`, from the call to the `Image`. In a round each has 20 turns, in
//!   an order that rotates, and next to them have turns `stat` of the SIF file and one
//!   `apptainer version`, the least that asking `apptainer` anything costs. Then each is
//!   done 1000 times more, and it is counted what that starts and asks: processes and
//!   threads by their numbers, for which the measuring process is the first in a PID namespace
//!   of its own, where each that is started takes the next number, however short it
//!   lives; requests by the log of the registry. The runtime has one thread for work that
//!   blocks there, which runs by then. A hit is to take 100 µs at most at the median; that it
//!   starts and asks nothing is asserted.
//! - *At once*: an image of one layer, 2 MB, that is not there, wanted by one, by 32 tasks
//!   of one process and by 32 processes, which all start when the last is ready. It takes as
//!   long as until the last has it. All are to get the same, by one conversion, which a
//!   program counts that stands before `apptainer`, and by one request for what the tag leads
//!   to and for each blob, which the log of the registry tells. That is asserted in each round;
//!   a second request for the manifest, by its digest, may be made and is counted.
//! - *Cold*: an image of 300 MB of this machine's programs and libraries, in 1 layer and
//!   in 5, by `apptainer pull` by hand, without its cache, and by ours, in turn; every
//!   other round the other way round. Each begins with everything on disk that was written
//!   before, so that none pays for another's. Ours is to take 3 % longer at most, though it has
//!   on disk, when it ends, what it says is there. Its phases are told beside it, and
//!   the processor time of each, the registry's not included.
//!
//! ```text
//! store [ROUNDS] [PART..]          measures, and prints tables
//! store --rows [ROUNDS] [PART..]   the same, printed as JSON
//! store --report OUT ROWS          prints tables of that, and writes it to OUT
//! ```
//!
//! A part is `hit`, `at-once` or `cold`; all three otherwise. Of what is at once there are no more than 7 rounds, of what is cold no more than 5.

mod at_once;
mod cold;
mod hit;
mod place;
mod report;
#[path = "../rows.rs"]
mod rows;

use std::path::Path;

use fixtures::{Login, Registry};
use report::Row;
use tokio::runtime;

const ROUNDS: usize = 200;

fn main() {
    // Cargo adds that one.
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let mut runtime = runtime::Builder::new_multi_thread();
    if words.first() == Some(&hit::FLAG) {
        // Otherwise more such threads start whenever one is a moment late, and count.
        runtime.max_blocking_threads(1);
    }
    let runtime = runtime.enable_all().build();
    runtime
        .expect("threads can be started")
        .block_on(run(&words));
}

async fn run(words: &[&str]) {
    match words {
        ["--rows", parts @ ..] => print!("{}", rows::json(&all(parts).await)),
        ["--report", out, pass] => {
            let measured: Vec<Row> = rows::read(Path::new(pass));
            report::print(&measured);
            rows::write(Path::new(out), &measured);
        }
        [hit::FLAG, folder, digest, tag, rounds] => {
            hit::measure(Path::new(folder), [digest, tag], number(rounds)).await;
        }
        [at_once::FLAG, folder, reference] => at_once::ask(Path::new(folder), reference).await,
        parts => report::print(&all(parts).await),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("it is a number")
}

/// Measures what is named, or everything, in so many rounds.
async fn all(words: &[&str]) -> Vec<Row> {
    const PARTS: [&str; 3] = ["hit", "at-once", "cold"];
    let words = words.iter().copied();
    let (parts, rounds): (Vec<&str>, Vec<&str>) = words.partition(|word| PARTS.contains(word));
    let rounds = rounds.first().map_or(ROUNDS, |word| number(word));
    let is_wanted = |part| parts.is_empty() || parts.contains(&part);
    let registry = Registry::start(Login::None);
    let mut rows = Vec::new();
    if is_wanted("hit") {
        rows.extend(hit::all(&registry, rounds).await);
    }
    if is_wanted("at-once") {
        rows.extend(at_once::all(&registry, rounds.min(7)).await);
    }
    if is_wanted("cold") {
        rows.extend(cold::all(&registry, rounds.min(5)).await);
    }
    rows
}

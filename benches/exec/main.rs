//! What it costs to run a command where containers are: `apptainer exec`, Docker,
//! Podman and runc, against a process on the host.
//!
//! All run the same static program, busybox, in the same root file system, and all
//! do the same work: start the command, read its standard output and standard error
//! to the end, and learn its exit code. What is compared is in [`subject`]. For the host
//! and for Apptainer's containers the program is one file, which both see, so that what
//! differs is the way to run it; `instance, its own file` takes that of its image, through
//! FUSE, as the engines take theirs through an overlay. Three things are measured.
//!
//! - *p50, p99*: one `busybox true` at a time, in microseconds. Each round gives
//!   every subject a turn, in another order each time. A turn begins with runs that
//!   do not count, for 20 ms and at least one, so that what the subject before left
//!   behind, in caches and in work that still goes on, is not paid for by this one;
//!   then come those that count: as many as fit in 10 ms, between one and 8. So what
//!   is slow has fewer. Percentiles are of all of them.
//! - *per s*: commands per second with 64 at once, each followed by the next for 3
//!   seconds, then until all have ended. The median of three such, of all subjects
//!   in turn.
//! - *MiB/s*: `busybox dd` writing 1 GiB of zeros, from its start to its end, read
//!   and counted here with buffers of 256 KiB. Five turns, each of as many as are
//!   started within a second; the median of all.
//!
//! `first command` makes a link to an instance for it, and is to be compared with
//! `apptainer exec`, of which it takes one.
//!
//! A subject named `.. , a key` is one key typed at a terminal, in `p50` and `p99`: see
//! [`key`].
//!
//! A subject named `.. , 4 GiB` does what the one without does, in another process
//! of this program's that has 4 GiB resident and is told over a pipe to do it; it
//! measures the time itself.
//!
//! Here everything happens on one thread, with one runtime of tokio. What it costs
//! the machine is more than that: an engine's client, daemon and monitors have the
//! other cores.
//!
//! Apptainer is there for ordinary users, Podman and runc are measured as root, and
//! no process can be both. So `scripts/bench exec` runs this program twice, and each
//! time compares with a host baseline beside it. Docker is in the first pass: its
//! users are ordinary ones, its daemon is root. A ratio is always to the next row above
//! that is the host's; to compare subjects of two passes, compare their ratios.
//!
//! ```text
//! exec [ROUNDS]              measures what can be measured, and prints a table
//! exec --rows [ROUNDS]       the same, printed as JSON
//! exec --report OUT ROWS..   prints a table of such passes, and writes them to OUT
//! exec --count NAME N        runs a subject N times, for counting instructions
//! exec --archive             makes the root file system, and prints where it is
//! ```
//!
//! Instructions are counted by callgrind, in user space and of this process alone:
//! the difference of two runs of `--count`, by the difference of their N.

mod api;
mod apptainer;
mod key;
mod measure;
mod ours;
mod process;
mod report;
mod resident;
#[path = "../rows.rs"]
mod rows;
mod subject;

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
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
        ["--rows"] => print!("{}", rows::json(&measure::all(ROUNDS).await)),
        ["--rows", rounds] => print!("{}", rows::json(&measure::all(number(rounds)).await)),
        ["--report", out, passes @ ..] => {
            let passes = passes.iter().map(|path| rows::read(Path::new(path)));
            let passes: Vec<_> = passes.collect();
            report::print(&passes);
            rows::write(Path::new(out), &passes.concat());
        }
        ["--count", name, times] => count(name, number(times)).await,
        ["--archive"] => println!("{}", fixtures::busybox_archive().display()),
        [resident::FLAG] => resident::serve().await,
        [] => report::print(&[measure::all(ROUNDS).await]),
        [rounds] => report::print(&[measure::all(number(rounds)).await]),
        _ => panic!("the top of benches/exec/main.rs says what can be asked for"),
    }
}

const ROUNDS: usize = 200;

fn number(word: &str) -> usize {
    word.parse().expect("it is a number")
}

async fn count(name: &str, times: usize) {
    let subject = subject::make(name).await;
    let subject = subject.expect("scripts/with-engines has started its engine");
    for _ in 0..times {
        subject.run_once().await;
    }
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

//! Workspaces against OpenHands' own: the Python `ApptainerWorkspace`, and its agent server.
//!
//! Everything is done as an ordinary user with the image that `scripts/setup --openhands` makes,
//! a SIF file that is there, and by the SDK from the Python Package Index, in one process of Python that has
//! imported it and takes the time itself, around each call. The server's editor is off and it
//! loads no tools beforehand, whoever starts it. What is compared has its turns in one run, in an
//! order that rotates. Five things are measured.
//!
//! - *Life*: from the call that starts a workspace until it can be used, running `true` in it,
//!   and stopping it: by the Python `ApptainerWorkspace`, by our `AgentServer`, which starts the
//!   same server, and by a native `Workspace` on the same image. In a round each is started,
//!   runs 20 commands and is stopped. A native one is to start in a fortieth, to run `true` in
//!   a fiftieth and to stop in a twentieth; `AgentServer` is to take no longer to start and an
//!   eighth to run `true`.
//! - *Commands*: shell lines of different lengths on one agent server, by the SDK and by our
//!   client, and on a native workspace of the same image, by the SDK through a gateway and by us.
//!   Our client is to take an eighth of what the SDK takes on that server, the SDK on a
//!   gateway a fifth. `sleep 0.02` cannot take less than 20 ms, so it has no such limit. Medians
//!   tell half of it: the SDK asks at once, and then every 0.1 s, so a line takes either
//!   as long as it takes or 0.1 s; the means are there too.
//! - *Streaming*: from the call until the first line of a command is there that writes another 0.3 s
//!   later, by the same four; the SDK asks for what there is without a pause.
//! - *Fork*: a copy of a workspace with 64 MiB in a file and 1000 small files, until it can be
//!   used, and an image of it; against `docker commit`, and `docker run` of that, with the same
//!   files, where `scripts/with-engines` has started Docker. Both are of an image with busybox
//!   only: Docker keeps what is below as it is, `Workspace::snapshot` compresses all of it again.
//! - Copying is measured by `files`, which `scripts/bench workspace` runs, too.
//!
//! ```text
//! workspace [ROUNDS] [PART..]          measures, and prints tables
//! workspace --rows [ROUNDS] [PART..]   the same, printed as JSON
//! workspace --report OUT ROWS..        prints tables of such passes, and writes them to OUT
//! workspace --archive                  makes the files for Docker, and prints where they are
//! ```
//!
//! A part is `life`, `commands`, `streaming` or `fork`; all otherwise. There are 40 rounds, of
//! `life` and `fork` no more than 5.

mod commands;
mod fork;
mod life;
mod place;
mod python;
#[path = "../report.rs"]
mod report;
#[path = "../rows.rs"]
mod rows;
mod streaming;

use std::path::Path;

use report::Row;

const ROUNDS: usize = 40;

#[tokio::main]
async fn main() {
    // Cargo adds that one.
    let words: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
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
    const PARTS: [&str; 4] = ["life", "commands", "streaming", "fork"];
    let words = words.iter().copied();
    let (parts, rounds): (Vec<&str>, Vec<&str>) = words.partition(|word| PARTS.contains(word));
    let rounds = rounds.first().map(|word| word.parse().expect("a number"));
    let rounds = rounds.unwrap_or(ROUNDS);
    let is_wanted = |part| parts.is_empty() || parts.contains(&part);
    let place = place::Place::new().await;
    let mut rows = Vec::new();
    if is_wanted("life") {
        rows.extend(Box::pin(life::all(&place, rounds.min(5))).await);
    }
    if is_wanted("commands") {
        rows.extend(Box::pin(commands::all(&place, rounds)).await);
    }
    if is_wanted("streaming") {
        rows.extend(Box::pin(streaming::all(&place, rounds)).await);
    }
    if is_wanted("fork") {
        rows.extend(Box::pin(fork::all(&place, rounds.min(5))).await);
    }
    rows
}

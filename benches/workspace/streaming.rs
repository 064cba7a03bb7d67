//! The first of what a command writes.

use std::time::Instant;

use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::place::{NAMES, Place, Subjects, millis};
use crate::report::Row;

const LINE: &str = "echo first; sleep 0.3; echo second";
const FIRST: &str = "first\n";

pub(crate) async fn all(place: &Place, rounds: usize) -> Vec<Row> {
    let mut subjects = place.subjects().await;
    let mut times: [Vec<f64>; NAMES.len()] = Default::default();
    // The first is to warm up.
    for round in 0..=rounds {
        for step in 0..NAMES.len() {
            let who = (round + step) % NAMES.len();
            let took = subjects.first(who).await;
            if round > 0 {
                times[who].push(took);
            }
        }
    }
    subjects.stop().await;
    let named = NAMES.into_iter().zip(times);
    named
        .map(|(name, times)| Row::new("first output", name, "ms", times))
        .collect()
}

impl Subjects {
    async fn first(&mut self, who: usize) -> f64 {
        match who {
            0 => self.by_sdk("server"),
            1 => self.by_client().await,
            2 => self.by_sdk("gateway"),
            _ => self.natively().await,
        }
    }

    fn by_sdk(&mut self, name: &str) -> f64 {
        let request = json!({"do": "first_output", "name": name, "line": LINE, "expected": FIRST});
        self.python.ask(&request)
    }

    async fn by_client(&self) -> f64 {
        let begin = Instant::now();
        let mut running = self.server.execute(LINE).start().await.expect("it runs");
        let chunk = running.next().await.expect("the server goes on");
        let took = millis(begin);
        assert!(chunk.is_some(), "it writes something");
        running.wait().await.expect("it ends");
        took
    }

    async fn natively(&self) -> f64 {
        let mut first = [0; FIRST.len()];
        let begin = Instant::now();
        let mut child = self.workspace.execute(LINE).spawn().await.expect("it runs");
        let mut stdout = child.stdout.take().expect("it is a pipe");
        stdout.read_exact(&mut first).await.expect("it writes");
        let took = millis(begin);
        assert_eq!(first, FIRST.as_bytes());
        child.wait().await.expect("it ends");
        took
    }
}

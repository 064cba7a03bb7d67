//! Lines of different lengths.

use std::time::Instant;

use crate::place::{NAMES, Place, Subjects, millis};
use crate::report::Row;

/// Lines, and whether how much less they are to take is told.
const LINES: [(&str, bool); 4] = [
    ("true", true),
    ("git --version", true),
    ("sleep 0.02", false),
    ("seq 100000", true),
];
/// How many times less our client is to take than the SDK on the same server, and the SDK on a
/// gateway.
const LESS: [(usize, f64); 2] = [(1, 8.0), (2, 5.0)];

pub(crate) async fn all(place: &Place, rounds: usize) -> Vec<Row> {
    const WARM_UP: usize = 3;
    let mut subjects = place.subjects().await;
    let mut rows = Vec::new();
    for (line, has_target) in LINES {
        let mut times: [Vec<f64>; NAMES.len()] = Default::default();
        for round in 0..rounds + WARM_UP {
            for step in 0..NAMES.len() {
                let who = (round + step) % NAMES.len();
                let took = subjects.run(who, line).await;
                if round >= WARM_UP {
                    times[who].push(took);
                }
            }
        }
        rows.extend(table(line, times, has_target));
    }
    subjects.stop().await;
    rows
}

fn table(line: &str, times: [Vec<f64>; NAMES.len()], has_target: bool) -> Vec<Row> {
    let medians = format!("execute {line}");
    let means = format!("execute {line}, means");
    let (mut of_medians, mut of_means) = (Vec::<Row>::new(), Vec::new());
    for (who, (name, times)) in NAMES.into_iter().zip(times).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        of_means.push(Row::new(&means, name, "ms", vec![mean]));
        let row = Row::new(&medians, name, "ms", times);
        let less = LESS.iter().find(|(other, _)| *other == who && has_target);
        of_medians.push(match less {
            Some((_, less)) => row.at_most(of_medians[0].p50 / less),
            None => row,
        });
    }
    of_medians.into_iter().chain(of_means).collect()
}

impl Subjects {
    async fn run(&mut self, who: usize, line: &str) -> f64 {
        let begin = Instant::now();
        let result = match who {
            0 => return self.python.execute("server", line),
            1 => self.server.execute(line).await.expect("it runs"),
            2 => return self.python.execute("gateway", line),
            _ => self.workspace.execute(line).await.expect("it runs"),
        };
        let took = millis(begin);
        assert!(result.success(), "{result:?}");
        took
    }
}

//! From a start to a stop.

use std::time::Instant;

use apptainer::workspace::{BaseWorkspace, ExecuteOptions};
use fixtures::OpenHands;
use serde_json::json;

use crate::place::{Place, millis};
use crate::python::Python;
use crate::report::Row;

/// How many commands are run in each.
const COMMANDS: usize = 20;

const NAMES: [&str; 3] = ["ApptainerWorkspace", "our agent_server", "native"];
/// How many times less the second and the third are to take than the first.
const TABLES: [(&str, [Option<f64>; 2]); 3] = [
    ("start to ready", [Some(1.0), Some(40.0)]),
    ("execute true", [Some(8.0), Some(50.0)]),
    ("stop", [None, Some(20.0)]),
];

pub(crate) async fn all(place: &Place, rounds: usize) -> Vec<Row> {
    let mut python = Python::start();
    // By what was done, and by whom.
    let mut times: [[Vec<f64>; 3]; 3] = Default::default();
    // The first is to warm up.
    for round in 0..=rounds {
        for step in 0..NAMES.len() {
            let who = (round + step) % NAMES.len();
            let (start, commands, stop) = match who {
                0 => by_python(&mut python),
                1 => by_server(place).await,
                _ => native(place).await,
            };
            if round > 0 {
                times[0][who].push(start);
                times[1][who].extend(commands);
                times[2][who].push(stop);
            }
        }
    }
    let tables = TABLES.into_iter().zip(times);
    tables
        .flat_map(|((table, less), times)| rows(table, less, times))
        .collect()
}

fn rows(table: &str, less: [Option<f64>; 2], times: [Vec<f64>; 3]) -> Vec<Row> {
    let named = NAMES.into_iter().zip(times);
    let rows = named.map(|(name, values)| Row::new(table, name, "ms", values));
    let mut rows: Vec<_> = rows.collect();
    let baseline = rows[0].p50;
    for (row, less) in rows[1..].iter_mut().zip(less) {
        if let Some(less) = less {
            *row = row.clone().at_most(baseline / less);
        }
    }
    rows
}

type Times = (f64, Vec<f64>, f64);

fn by_python(python: &mut Python) -> Times {
    const NAME: &str = "own";
    let sif = OpenHands::find().sif().to_owned();
    let start = python.ask(&json!({"do": "start", "name": NAME, "sif": sif}));
    let commands = (0..COMMANDS).map(|_| python.execute(NAME, "true"));
    let commands = commands.collect();
    (
        start,
        commands,
        python.ask(&json!({"do": "stop", "name": NAME})),
    )
}

async fn by_server(place: &Place) -> Times {
    let begin = Instant::now();
    let server = place.agent_server().start().await.expect("it starts");
    live(millis(begin), &server).await
}

async fn native(place: &Place) -> Times {
    let begin = Instant::now();
    let workspace = place.workspace().start().await.expect("it starts");
    live(millis(begin), &workspace).await
}

/// Runs commands in what took so long to start, and stops it.
async fn live(start: f64, workspace: &dyn BaseWorkspace) -> Times {
    let mut commands = Vec::new();
    for _ in 0..COMMANDS {
        let begin = Instant::now();
        let result = workspace.execute("true".as_ref(), ExecuteOptions::new());
        let result = result.await.expect("it runs");
        commands.push(millis(begin));
        assert!(result.success(), "{result:?}");
    }
    let begin = Instant::now();
    workspace.stop().await.expect("it stops");
    (start, commands, millis(begin))
}

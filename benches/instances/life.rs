//! Starting one and stopping it.

use std::path::PathBuf;
use std::time::Instant;

use apptainer::instance::{Payload, Spec, Supervisor};

use crate::place::{Place, spec, text};
use crate::report::Row;

/// How much longer than by hand a start may take, in ms.
const MORE: f64 = 5.0;
/// How much less a stop is to take.
const LESS: f64 = 5.0;
/// What a stop is to take at most, in ms.
const STOP: f64 = 150.0;

/// How one is started.
enum Way {
    ByHand(PathBuf),
    Ours(Box<Spec>),
}

struct Subject {
    payload: &'static str,
    way: Way,
    started: Vec<f64>,
    stopped: Vec<f64>,
}

pub(crate) async fn all(rounds: usize) -> Vec<Row> {
    let place = Place::new().await;
    let supervisor = place.supervisor(1).await;
    let (empty, sleeping) = (fixtures::busybox_sif(), place.sleeping_image());
    let ours = [
        spec(&empty),
        spec(&sleeping).payload(Payload::Start(Vec::new())),
    ];
    let [ours_empty, ours_sleeping] = ours.map(|spec| Way::Ours(Box::new(spec)));
    let mut subjects = [
        ("no payload", Way::ByHand(empty)),
        ("no payload", ours_empty),
        ("a payload", Way::ByHand(sleeping)),
        ("a payload", ours_sleeping),
    ]
    .map(|(payload, way)| Subject {
        payload,
        way,
        started: Vec::new(),
        stopped: Vec::new(),
    });
    let count = subjects.len();
    // The first is to warm up.
    for round in 0..=rounds {
        for step in 0..count {
            let subject = &mut subjects[(round + step) % count];
            let [started, stopped] = match &subject.way {
                Way::ByHand(image) => by_hand(&place, text(image)),
                Way::Ours(spec) => ours_once(&supervisor, spec).await,
            };
            if round > 0 {
                subject.started.push(started);
                subject.stopped.push(stopped);
            }
        }
    }
    supervisor.shut_down().await.expect("nothing runs");
    let [first, second] = [&subjects[..2], &subjects[2..]].map(rows);
    first.into_iter().chain(second).collect()
}

/// By hand, then ours.
fn rows(pair: &[Subject]) -> Vec<Row> {
    let row = |doing: &str, subject: &Subject, values: &[f64]| {
        let name = match subject.way {
            Way::ByHand(_) => "by hand",
            Way::Ours(_) => "ours",
        };
        let table = format!("{doing}, {}", subject.payload);
        Row::new(&table, name, "ms", values.to_vec())
    };
    let [by_hand, ours] = pair else {
        panic!("they are compared in pairs")
    };
    let start = row("start", by_hand, &by_hand.started);
    let started = row("start", ours, &ours.started).at_most(start.p50 + MORE);
    let stop = row("stop", by_hand, &by_hand.stopped);
    let stopped = row("stop", ours, &ours.stopped).at_most(STOP.min(stop.p50 / LESS));
    vec![start, started, stop, stopped]
}

fn by_hand(place: &Place, image: &str) -> [f64; 2] {
    let begin = Instant::now();
    place.by_hand(&["start", image, "by-hand"]);
    let started = millis(begin);
    let begin = Instant::now();
    place.by_hand(&["stop", "by-hand"]);
    [started, millis(begin)]
}

async fn ours_once(supervisor: &Supervisor, spec: &Spec) -> [f64; 2] {
    let begin = Instant::now();
    let service = supervisor.start(spec).await.expect("it starts");
    service.ready().await.expect("it goes on");
    let started = millis(begin);
    let begin = Instant::now();
    service.stop().await.expect("it stops");
    [started, millis(begin)]
}

pub(crate) fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

//! Starting many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use apptainer::instance::{Spec, Supervisor};
use tokio::task::JoinSet;

use crate::place::{Place, spec, text};
use crate::report::Row;

const MANY: usize = 48;
const AT_ONCE: usize = 16;

pub(crate) async fn all(rounds: usize) -> Vec<Row> {
    let place = Place::new().await;
    let image = fixtures::busybox_sif();
    let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
    for round in 0..2 * rounds {
        if matches!(round % 4, 0 | 3) {
            by_hand.push(start_by_hand(&place, text(&image)));
            place.by_hand(&["stop", "--all", "--force"]);
        } else {
            let supervisor = place.supervisor(AT_ONCE).await;
            let begin = Instant::now();
            start(&supervisor, &spec(&image), MANY).await;
            ours.push(rate(MANY, begin));
            supervisor.shut_down().await.expect("they stop");
        }
    }
    let row = |name, values| Row::new("16 at once", name, "/s", values);
    vec![row("by hand", by_hand), row("ours", ours)]
}

fn start_by_hand(place: &Place, image: &str) -> f64 {
    let next = AtomicUsize::new(0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= MANY {
                        return;
                    }
                    place.by_hand(&["start", image, &format!("by-hand-{number}")]);
                }
            });
        }
    });
    rate(MANY, begin)
}

/// Starts so many of ours, and waits until all are ready.
pub(crate) async fn start(supervisor: &Supervisor, spec: &Spec, count: usize) {
    let mut starting = JoinSet::new();
    for _ in 0..count {
        let (supervisor, spec) = (supervisor.clone(), spec.clone());
        starting.spawn(async move {
            let service = supervisor.start(&spec).await.expect("it starts");
            service.ready().await.expect("it goes on");
        });
    }
    starting.join_all().await;
}

pub(crate) fn rate(count: usize, since: Instant) -> f64 {
    let count = u32::try_from(count).expect("they are few");
    f64::from(count) / since.elapsed().as_secs_f64()
}

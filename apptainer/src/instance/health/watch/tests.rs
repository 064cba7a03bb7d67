//! The schedule, on a clock that does not wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn failure() -> ProbeFailure {
    ProbeFailure::Custom("no".to_owned())
}

/// An instance whose answers are made up, and when it was asked.
#[derive(Clone)]
struct Scripted {
    answers: Arc<Mutex<Vec<bool>>>,
    asked: Arc<Mutex<Vec<Duration>>>,
    started: Instant,
}

impl Scripted {
    /// Gives these answers in turn, and the last one for ever.
    fn new(answers: &[bool]) -> Self {
        let mut answers = answers.to_vec();
        answers.reverse();
        Self {
            answers: Arc::new(Mutex::new(answers)),
            asked: Arc::default(),
            started: Instant::now(),
        }
    }

    fn watch(&self, health: Health) -> Watch {
        let this = self.clone();
        watch_by(health, move || {
            let this = this.clone();
            async move { this.answer() }
        })
    }

    fn answer(&self) -> Result<(), ProbeFailure> {
        self.asked().push(self.started.elapsed());
        let mut answers = self.answers.lock().unwrap();
        let is_well = if answers.len() > 1 {
            answers.pop()
        } else {
            answers.last().copied()
        };
        is_well.unwrap().then_some(()).ok_or_else(failure)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn health() -> Health {
    Health::tcp(1).interval(10 * SECOND).timeout(SECOND)
}

/// The next report with this verdict, and how many came before it.
async fn until(watch: &mut Watch, verdict: Verdict) -> (Report, usize) {
    for before in 0.. {
        let report = watch.next().await;
        if report.verdict == verdict {
            return (report, before);
        }
    }
    unreachable!();
}

#[tokio::test(start_paused = true)]
async fn it_is_asked_often_until_it_is_ready_and_rarely_then() {
    let scripted = Scripted::new(&[false, false, false, false, false, false, true]);
    let mut watch = scripted.watch(health());
    let (report, failures) = until(&mut watch, Verdict::Healthy).await;
    assert_eq!((report.streak, failures), (0, 6));
    tokio::time::sleep(25 * SECOND).await;
    let millis: Vec<u128> = scripted.asked().iter().map(Duration::as_millis).collect();
    assert_eq!(
        millis,
        [0, 10, 30, 70, 150, 250, 350, 10_350, 20_350],
        "the clock of tests has steps of a millisecond"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_is_well_wakes_nobody() {
    let scripted = Scripted::new(&[true]);
    let mut watch = scripted.watch(health());
    assert_eq!(watch.next().await.verdict, Verdict::Healthy);
    let silence = tokio::time::timeout(1005 * SECOND, watch.next()).await;
    assert!(silence.is_err());
    assert_eq!(scripted.asked().len(), 101);
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_on_end_make_it_unhealthy_and_one_success_well() {
    let answers = [true, false, false, true, false, false, false, false, true];
    let scripted = Scripted::new(&answers);
    let mut watch = scripted.watch(health());
    let mut seen = Vec::new();
    for _ in 0..8 {
        let report = watch.next().await;
        seen.push((report.result.is_ok(), report.streak, report.verdict));
    }
    assert_eq!(
        seen,
        [
            (true, 0, Verdict::Healthy),
            (false, 1, Verdict::Healthy),
            (false, 2, Verdict::Healthy),
            // What passed in between changes no verdict, and only begins the count again.
            (false, 1, Verdict::Healthy),
            (false, 2, Verdict::Healthy),
            (false, 3, Verdict::Unhealthy),
            (false, 4, Verdict::Unhealthy),
            (true, 0, Verdict::Healthy),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn it_has_as_long_to_become_ready_as_with_docker() {
    let scripted = Scripted::new(&[false]);
    let began = Instant::now();
    let mut watch = scripted.watch(health().start_period(60 * SECOND).retries(2));
    let (report, _) = until(&mut watch, Verdict::Unhealthy).await;
    assert_eq!(report.streak, 2);
    let (time, late) = (began.elapsed(), SECOND);
    assert!(time >= 80 * SECOND && time < 80 * SECOND + late, "{time:?}");
    // It is not asked as often any more.
    let asked = scripted.asked().len();
    for streak in 3..8 {
        assert_eq!(watch.next().await.streak, streak);
    }
    assert_eq!(scripted.asked().len(), asked + 5);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_given_up_and_counts_as_failed() {
    /// Counts those that are under way.
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let running = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&running);
    let mut watch = watch_by(health(), move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&counted));
        async move {
            let _running = running;
            std::future::pending().await
        }
    });
    for _ in 0..3 {
        let report = watch.next().await;
        let after = report.result.unwrap_err();
        assert!(matches!(after, ProbeFailure::TimedOut { after } if after == SECOND));
        assert_eq!(running.load(Ordering::SeqCst), 0);
    }
    // Nor does one stay when nobody wants to know any more.
    tokio::time::sleep(SECOND / 2).await;
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(watch);
    tokio::time::sleep(SECOND / 100).await;
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_frozen_instance_is_not_asked_and_its_time_stands_still() {
    let scripted = Scripted::new(&[false]);
    let mut watch = scripted.watch(health().start_period(60 * SECOND).retries(1));
    let began = Instant::now();
    watch.next().await;
    watch.pause();
    tokio::task::yield_now().await;
    while tokio::time::timeout(500 * SECOND, watch.next())
        .await
        .is_ok()
    {}
    let asked = scripted.asked().len();
    assert!(asked < 5, "{asked}");
    tokio::time::sleep(500 * SECOND).await;
    assert_eq!(scripted.asked().len(), asked);
    assert!(began.elapsed() >= 1000 * SECOND);
    let resumed = Instant::now();
    watch.resume();
    until(&mut watch, Verdict::Unhealthy).await;
    let time = resumed.elapsed();
    assert!(time >= 69 * SECOND && time < 71 * SECOND, "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_under_way_when_the_instance_is_frozen_does_not_count() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut watch = watch_by(health().retries(1), move || {
        // The first one hangs, as in an instance that is frozen.
        let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    tokio::time::sleep(SECOND / 2).await;
    watch.pause();
    tokio::time::sleep(100 * SECOND).await;
    watch.resume();
    let report = watch.next().await;
    assert_eq!(report.verdict, Verdict::Healthy);
    assert!(report.result.unwrap() < SECOND);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_reports_is_waited_for() {
    let scripted = Scripted::new(&[false]);
    let mut watch = scripted.watch(health());
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(scripted.asked().len(), WAITING + 1);
    watch.next().await;
    tokio::time::sleep(1000 * SECOND).await;
    assert_eq!(scripted.asked().len(), WAITING + 2);
}

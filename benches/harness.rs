//! Measuring two ways of doing the same side by side.

use std::fmt;
use std::time::Duration;

/// A time or a difference of times, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Millis(f64);

impl From<Duration> for Millis {
    fn from(time: Duration) -> Self {
        Self(time.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.abs() < 1.0 {
            write!(f, "{:.1} µs", self.0 * 1e3)
        } else {
            write!(f, "{:.2} ms", self.0)
        }
    }
}

/// Measures `baseline` and `ours` in turn and prints what came out.
///
/// The number of rounds is the program's first argument that is a number, 41
/// otherwise; three more go before that are not counted.
pub(crate) async fn compare(
    title: &str,
    names: [&str; 2],
    mut baseline: impl AsyncFnMut() -> Millis,
    mut ours: impl AsyncFnMut() -> Millis,
) {
    const WARM_UP: usize = 3;
    let given = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let rounds = given.unwrap_or(41).max(1);
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..rounds + WARM_UP {
        let (first, second) = if round % 2 == 0 {
            let first = baseline().await;
            (first, ours().await)
        } else {
            let second = ours().await;
            (baseline().await, second)
        };
        if round >= WARM_UP {
            times[0].push(first);
            times[1].push(second);
        }
    }
    let differences = times[0].iter().zip(&times[1]);
    let differences: Vec<_> = differences
        .map(|(baseline, ours)| Millis(ours.0 - baseline.0))
        .collect();

    println!("{title}, {rounds} rounds");
    let [baseline, ours] = times.map(|times| quartiles(&times));
    for (name, [low, median, high]) in names.into_iter().zip([baseline, ours]) {
        println!(
            "  {name:<20} {:>10}   ({low} to {high})",
            median.to_string()
        );
    }
    let [low, median, high] = quartiles(&differences);
    let median = median.to_string();
    println!("  {:<20} {median:>10}   ({low} to {high})", "difference");
    println!("  {:<20} {:>10.4}", "ratio", ours[1].0 / baseline[1].0);
}

/// The lower quartile, the median and the upper quartile.
fn quartiles(times: &[Millis]) -> [Millis; 3] {
    let mut sorted = times.to_vec();
    sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

//! What the demo prints: a line a step, with the time that it took.

use std::future::Future;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::Result;

/// Does a step, which ends with a value and a few words on what came of it.
pub(crate) async fn step<T>(
    name: &str,
    work: impl Future<Output = Result<(T, String)>>,
) -> Result<T> {
    let begin = Instant::now();
    let done = work.await;
    let took = milliseconds(begin.elapsed());
    match done {
        Ok((value, what)) => {
            println!("  {took:>8}  {name}: {what}");
            Ok(value)
        }
        Err(error) => {
            println!("  {took:>8}  {name}: failed");
            Err(error)
        }
    }
}

/// A line without a time of its own.
pub(crate) fn note(text: impl AsRef<str>) {
    println!("            {}", text.as_ref());
}

/// A line that shows how far a pull has come, where standard error is a terminal.
pub(crate) fn pull_display() -> ProgressBar {
    let display = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("  {elapsed:>8}  {spinner} {msg}");
    display.set_style(style.expect("the template is right"));
    display.enable_steady_tick(Duration::from_millis(80));
    display
}

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

//! What the demo prints: a line a step, with the time that it took.

use std::future::Future;
use std::time::{Duration, Instant};

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

pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

//! What has been measured, as a row and as tables.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rows::{percentile, sorted};

/// Times of one way to have an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What it is compared in.
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) runs: usize,
    /// The quartiles, in microseconds.
    pub(crate) p25_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p75_us: f64,
    /// What the median is to be at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_us: Option<f64>,
    /// What else was found, by what it is: numbers, and medians of seconds.
    #[serde(default)]
    pub(crate) found: BTreeMap<String, f64>,
}

impl Row {
    pub(crate) fn new(table: &str, name: &str, times: &[Duration]) -> Self {
        let times = times.iter().map(|time| time.as_secs_f64() * 1e6);
        let times = sorted(times.collect());
        let [p25_us, p50_us, p75_us] =
            [25, 50, 75].map(|percent| percentile(&times, percent).expect("there are some"));
        Self {
            table: table.to_owned(),
            name: name.to_owned(),
            runs: times.len(),
            p25_us,
            p50_us,
            p75_us,
            target_us: None,
            found: BTreeMap::new(),
        }
    }

    pub(crate) fn with_target(mut self, micros: f64) -> Self {
        self.target_us = Some(micros);
        self
    }

    pub(crate) fn found(&mut self, what: &str, value: f64) {
        self.found.insert(what.to_owned(), value);
    }
}

/// Prints a table of each kind. Beside each median is how many times that of the table's first
/// row it is.
pub(crate) fn print(rows: &[Row]) {
    for table in rows.chunk_by(|one, other| one.table == other.table) {
        let [baseline, ..] = table else { continue };
        println!(
            "{:<28}{:>6}{:>12}{:>12}{:>12}{:>9}",
            baseline.table, "runs", "p25", "p50", "p75", "x first"
        );
        for row in table {
            let times = [row.p25_us, row.p50_us, row.p75_us].map(time);
            let [p25, p50, p75] = times;
            let ratio = row.p50_us / baseline.p50_us;
            println!(
                "{:<28}{:>6}{p25:>12}{p50:>12}{p75:>12}{ratio:>9.3}{}",
                row.name,
                row.runs,
                verdict(row)
            );
            for (what, value) in &row.found {
                println!("    {what}: {value}");
            }
        }
        println!();
    }
}

fn verdict(row: &Row) -> String {
    row.target_us.map_or_else(String::new, |target| {
        let word = if row.p50_us <= target {
            "kept"
        } else {
            "MISSED"
        };
        format!("  at most {}: {word}", time(target))
    })
}

fn time(micros: f64) -> String {
    if micros < 1e3 {
        format!("{micros:.1} µs")
    } else if micros < 1e6 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

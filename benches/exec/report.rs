//! What has been measured, as JSON and as a table.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What has been measured of one subject; nothing where it was not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// The median of a run, in microseconds.
    pub(crate) p50_us: Option<f64>,
    /// What 99 of 100 runs did not exceed, in microseconds.
    pub(crate) p99_us: Option<f64>,
    /// Commands per second, 64 at once.
    pub(crate) per_s: Option<f64>,
    /// MiB per second of a stream.
    pub(crate) mib_s: Option<f64>,
}

impl Row {
    fn values(&self) -> [Option<f64>; 4] {
        [self.p50_us, self.p99_us, self.per_s, self.mib_s]
    }
}

/// An array with an object a line.
pub(crate) fn json(rows: &[Row]) -> String {
    let lines = rows.iter().map(serde_json::to_string);
    let lines: Result<Vec<_>, _> = lines.collect();
    let lines = lines.expect("they are numbers and text");
    format!("[\n  {}\n]\n", lines.join(",\n  "))
}

/// Reads what [`json`] made.
pub(crate) fn read(path: &Path) -> Vec<Row> {
    let text = fs::read(path).expect("the pass wrote it");
    serde_json::from_slice(&text).expect("the pass went to its end")
}

/// Writes rows for other programs.
pub(crate) fn write(path: &Path, rows: &[Row]) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("it is ours to write to");
    }
    fs::write(path, json(rows)).expect("it is ours to write to");
}

/// Prints a table of passes. Beside each number is how many times that of the next row
/// above it is that is the host's.
pub(crate) fn print(passes: &[Vec<Row>]) {
    print!("{:<24}", "");
    for title in ["p50, µs", "p99, µs", "64 at once, /s", "1 GiB, MiB/s"] {
        print!("{title:>16}{:>8}", "x host");
    }
    println!();
    for pass in passes {
        let mut baseline = [None; 4];
        for row in pass {
            if row.name.starts_with("host") {
                baseline = row.values();
            }
            print!("{:<24}", row.name);
            for (value, baseline) in row.values().into_iter().zip(baseline) {
                match (value, baseline) {
                    (Some(value), Some(baseline)) => {
                        print!("{value:>16.1}{:>8}", ratio(value / baseline));
                    }
                    _ => print!("{:>16}{:>8}", "-", ""),
                }
            }
            println!();
        }
        println!();
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        format!("{ratio:.4}")
    } else {
        format!("{ratio:.2}")
    }
}

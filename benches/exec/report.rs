//! What has been measured, as a row and as a table.

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

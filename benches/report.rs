//! What has been measured, as a row and as tables.

use serde::{Deserialize, Serialize};

use crate::rows::{percentile, sorted};

/// What has been measured of one thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What it is compared in.
    pub(crate) table: String,
    pub(crate) name: String,
    /// Of what the numbers are so many.
    pub(crate) unit: String,
    pub(crate) runs: usize,
    /// The quartiles.
    pub(crate) p25: f64,
    pub(crate) p50: f64,
    pub(crate) p75: f64,
    /// What the median is to be at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<f64>,
}

impl Row {
    pub(crate) fn new(table: &str, name: &str, unit: &str, values: Vec<f64>) -> Self {
        let values = sorted(values);
        let quartiles = [25, 50, 75].map(|percent| percentile(&values, percent));
        let [p25, p50, p75] = quartiles.map(|value| value.expect("there are some"));
        Self {
            table: table.to_owned(),
            name: name.to_owned(),
            unit: unit.to_owned(),
            runs: values.len(),
            p25,
            p50,
            p75,
            target: None,
        }
    }

    pub(crate) fn at_most(mut self, target: f64) -> Self {
        self.target = Some(target);
        self
    }
}

/// Prints a table of each kind. Beside each median is how many times that of the table's first
/// row it is, where that is of the same unit.
pub(crate) fn print(rows: &[Row]) {
    for table in rows.chunk_by(|one, other| one.table == other.table) {
        let [first, ..] = table else { continue };
        println!(
            "{:<40}{:>6}{:>11}{:>11}{:>11} {:<6}{:>9}",
            first.table, "runs", "p25", "p50", "p75", "", "x first"
        );
        for row in table {
            let ratio = if row.unit == first.unit && first.p50 > 0.0 {
                format!("{:.4}", row.p50 / first.p50)
            } else {
                String::new()
            };
            let (name, unit) = (&row.name, &row.unit);
            let [p25, p50, p75] = [row.p25, row.p50, row.p75].map(number);
            println!(
                "{name:<40}{:>6}{p25:>11}{p50:>11}{p75:>11} {unit:<6}{ratio:>9}{}",
                row.runs,
                verdict(row)
            );
        }
        println!();
    }
}

fn verdict(row: &Row) -> String {
    row.target.map_or_else(String::new, |target| {
        let word = if row.p50 <= target { "kept" } else { "MISSED" };
        format!("  at most {}: {word}", number(target))
    })
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value.abs() < 10.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}

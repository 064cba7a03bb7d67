//! Rows of results: as JSON, and what stands in them.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An array with an object a line.
pub(crate) fn json(rows: &[impl Serialize]) -> String {
    let lines = rows.iter().map(serde_json::to_string);
    let lines: Result<Vec<_>, _> = lines.collect();
    let lines = lines.expect("they are numbers and text");
    format!("[\n  {}\n]\n", lines.join(",\n  "))
}

/// Reads what [`json`] made.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let text = fs::read(path).expect("the pass wrote it");
    serde_json::from_slice(&text).expect("the pass went to its end")
}

/// Writes rows for other programs.
pub(crate) fn write(path: &Path, rows: &[impl Serialize]) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("it is ours to write to");
    }
    fs::write(path, json(rows)).expect("it is ours to write to");
}

pub(crate) fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The value that so many of a hundred do not exceed; none of none.
pub(crate) fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

//! Times and sizes, as people write and read them.

use std::time::{Duration, SystemTime};

use indicatif::{HumanBytes, HumanDuration};

/// Reads `90s`, `15m`, `12h`, `30d` or `2w`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("write a number and one of s, m, h, d, w, and not {text:?}");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(wrong()),
    };
    let seconds = number.checked_mul(seconds).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

/// Reads `500M` or `20G`, of 1024 each, or a number of bytes.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("write a number and one of K, M, G, T, and not {text:?}");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let bytes: u64 = match unit.trim_end_matches('B').trim_end_matches('i') {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(bytes).ok_or_else(wrong)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    Some((number.parse().ok()?, unit))
}

pub(crate) fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

pub(crate) fn ago(time: SystemTime) -> String {
    match time.elapsed() {
        Ok(age) => format!("{} ago", HumanDuration(age)),
        Err(_) => "in the future".to_owned(),
    }
}

//! Points in time as OCI images have them.

/// Seconds since 1970 as RFC 3339 has it, in UTC: `2026-01-31T12:00:00Z`.
pub(super) fn rfc3339(seconds: i64) -> String {
    const DAY: i64 = 24 * 60 * 60;
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The year, month and day of a day since 1970.
///
/// Years are counted from March on, so that a leap day is the last of its year: then months
/// are of 30.6 days, and 400 years of 146097.
fn date(days: i64) -> (i64, i64, i64) {
    /// From 1 March of the year 0 to 1 January 1970.
    const OFFSET: i64 = 719_468;
    const ERA: i64 = 146_097;
    let days = days + OFFSET;
    let (era, day) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn known_points_in_time() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_234_567_890, "2009-02-13T23:31:30Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}

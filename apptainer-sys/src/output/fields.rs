//! `apptainer sif header` and `apptainer sif info`.

/// The lines of `NAME:  value`, in order; others are passed over.
///
/// [`sif`](crate::sif) reads the same from the file itself.
pub fn fields(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_colons() {
        let text = "  Data Type:    FS\n\n  Created At:   2026-11-23 14:12:27 +0000 UTC\n";
        let expected = [
            ("Data Type", "FS"),
            ("Created At", "2026-11-23 14:12:27 +0000 UTC"),
        ];
        assert_eq!(fields(text), expected);
    }
}

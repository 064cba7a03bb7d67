//! What becomes of logs.

use serde::{Deserialize, Serialize};

/// What becomes of what an instance writes: how long it is kept, and whether the time is.
///
/// By default logs grow for as long as the instance runs, as Apptainer leaves them.
///
/// ```
/// use apptainer::instance::LogSettings;
///
/// // At most about 40 MiB for each of the two outputs, with times.
/// let settings = LogSettings::default()
///     .max_size(10 << 20)
///     .max_files(3)
///     .timestamps(true);
/// # assert_eq!(settings.max_size, Some(10 << 20));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogSettings {
    /// At how many bytes a log is rotated; never where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<u64>,
    /// How many rotated logs are kept of each output.
    pub max_files: u32,
    /// Whether the times are kept at which lines were written.
    pub timestamps: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            max_size: None,
            max_files: 3,
            timestamps: false,
        }
    }
}

/// Below this, rotating is all that is done.
pub(super) const LEAST_SIZE: u64 = 4096;
const MOST_FILES: u32 = 1000;

impl LogSettings {
    /// Rotates a log that has more than this many bytes; at least 4096.
    ///
    /// What is rotated away has at most that many where the file system can take bytes out of
    /// a file's beginning, as ext4 and XFS can; elsewhere it has in addition what was written
    /// while it was copied. It ends with the end of a line where one is in reach; where none
    /// is, the line goes on in the next file.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Keeps this many rotated logs of each output: 3 unless this is called. At least one.
    pub fn max_files(mut self, files: u32) -> Self {
        self.max_files = files;
        self
    }

    /// Keeps the times at which lines were written, in an index beside each log: 16 bytes for
    /// every 20 ms in which something is.
    pub fn timestamps(mut self, are_kept: bool) -> Self {
        self.timestamps = are_kept;
        self
    }

    /// What is wrong with them: the field, and why.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let mut findings = Vec::new();
        if let Some(size) = self.max_size.filter(|size| *size < LEAST_SIZE) {
            let problem = format!("is {size}, and must be at least {LEAST_SIZE} bytes");
            findings.push(("max_size".to_owned(), problem));
        }
        if !(1..=MOST_FILES).contains(&self.max_files) {
            let problem = format!("is {}, and must be 1 to {MOST_FILES}", self.max_files);
            findings.push(("max_files".to_owned(), problem));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_found() {
        let fields = |settings: LogSettings| -> Vec<String> {
            let findings = settings.findings().into_iter();
            findings.map(|(field, _)| field).collect()
        };
        assert!(fields(LogSettings::default()).is_empty());
        assert!(fields(LogSettings::default().max_size(4096).max_files(1000)).is_empty());
        let wrong = LogSettings::default().max_size(4095).max_files(0);
        assert_eq!(fields(wrong), ["max_size", "max_files"]);
        assert_eq!(
            fields(LogSettings::default().max_files(1001)),
            ["max_files"]
        );
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let read: LogSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(read, LogSettings::default());
        let settings = LogSettings::default().max_size(1 << 20).timestamps(true);
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<LogSettings>(&text).unwrap(),
            settings
        );
    }
}

//! What a command wrote, all of it or its beginning and end.

use bytes::Bytes;

use super::ExitStatus;

/// What a command wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, where that was piped.
    pub stdout: Bytes,
    /// Its standard error, where that was piped.
    pub stderr: Bytes,
    /// What is left out of standard output, where it passed the
    /// [limit](super::Command::output_limit).
    pub stdout_omission: Option<Omission>,
    /// The same of standard error.
    pub stderr_omission: Option<Omission>,
    /// Whether it was ended because its [timeout](super::Command::timeout) had
    /// passed. The outputs hold what it wrote until then.
    pub timed_out: bool,
    /// Whether something that it left in the background still held an output, so
    /// that what that writes is missing.
    pub is_cut: bool,
}

/// What is left out of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Omission {
    /// Behind how many of the bytes that are there.
    pub at: usize,
    /// How many bytes.
    pub bytes: u64,
}

impl Output {
    /// Standard output as text, for people: what is no UTF-8 is replaced, and what is left out
    /// is told on a line of its own.
    pub fn stdout_text(&self) -> String {
        text(&self.stdout, self.stdout_omission)
    }

    /// The same of standard error.
    pub fn stderr_text(&self) -> String {
        text(&self.stderr, self.stderr_omission)
    }
}

fn text(bytes: &[u8], omission: Option<Omission>) -> String {
    let Some(omission) = omission else {
        return String::from_utf8_lossy(bytes).into_owned();
    };
    let (head, tail) = bytes.split_at(omission.at.min(bytes.len()));
    let (head, tail) = (String::from_utf8_lossy(head), String::from_utf8_lossy(tail));
    format!("{head}\n[{} bytes left out]\n{tail}", omission.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_tells_what_is_left_out() {
        assert_eq!(text(b"all \xff of it", None), "all \u{fffd} of it");
        let omission = Omission { at: 5, bytes: 70 };
        let expected = "begin\n[70 bytes left out]\nend";
        assert_eq!(text(b"beginend", Some(omission)), expected);
    }
}

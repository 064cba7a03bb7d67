//! The lines that Apptainer writes to standard error.

use std::borrow::Cow;

/// How bad a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// With `--debug` only.
    Debug,
    /// With `--verbose` only.
    Verbose,
    /// What it is about to do.
    Info,
    /// It goes on all the same.
    Warning,
    /// Something failed.
    Error,
    /// It gave up: the process exits with 255.
    Fatal,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// How bad it is.
    pub level: Level,
    /// What it says.
    pub text: Cow<'a, str>,
}

impl<'a> Message<'a> {
    /// Reads one line, if it is a message.
    ///
    /// Apptainer writes `LEVEL:   text` and its starter, written in C,
    /// `LEVEL  : text`, which it colours whatever standard error is.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = without_escapes(line);
        let level_end = line.iter().position(|byte| *byte == b':')?;
        let level = match line[..level_end].trim_ascii() {
            b"DEBUG" => Level::Debug,
            b"VERBOSE" => Level::Verbose,
            b"INFO" => Level::Info,
            b"WARNING" => Level::Warning,
            b"ERROR" => Level::Error,
            b"FATAL" | b"ABRT" => Level::Fatal,
            _ => return None,
        };
        let after = &line[level_end + 1..];
        if !after.starts_with(b" ") {
            return None;
        }
        let text = match &line {
            Cow::Borrowed(whole) => String::from_utf8_lossy(whole[level_end + 1..].trim_ascii()),
            Cow::Owned(_) => String::from_utf8_lossy(after.trim_ascii())
                .into_owned()
                .into(),
        };
        Some(Self { level, text })
    }
}

/// The messages among the lines of `output`.
pub fn messages(output: &[u8]) -> impl DoubleEndedIterator<Item = Message<'_>> {
    output
        .split(|byte| *byte == b'\n')
        .filter_map(Message::parse)
}

/// `line` without terminal escapes of the form `ESC [ .. letter`.
fn without_escapes(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&0x1b) {
        return line.into();
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.iter().position(|byte| *byte == 0x1b) {
        plain.extend_from_slice(&rest[..start]);
        let sequence = &rest[start + 1..];
        let end = sequence.iter().position(u8::is_ascii_alphabetic);
        rest = end.map_or(&[], |end| &sequence[end + 1..]);
    }
    plain.extend_from_slice(rest);
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_writers_are_understood() {
        let output = b"INFO:    Starting build...\n\x1b[91mERROR  : Requesting capability set\n\x1b[0mFATAL:   no such image\nplain\n";
        let found: Vec<_> = messages(output)
            .map(|message| (message.level, message.text.into_owned()))
            .collect();
        assert_eq!(
            found,
            [
                (Level::Info, "Starting build...".to_owned()),
                (Level::Error, "Requesting capability set".to_owned()),
                (Level::Fatal, "no such image".to_owned()),
            ]
        );
    }

    #[test]
    fn a_line_that_only_looks_alike_is_no_message() {
        for line in [&b"INFO"[..], b"FATAL:", b"NOTICE:  x", b"ERROR:x", b""] {
            assert_eq!(Message::parse(line), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
            let _ = messages(&bytes).count();
        }
    }
}

//! How a value becomes a word of an argv.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::process::Signal;

/// Why a value cannot be used: a sentence about the value.
pub(crate) type Reason = &'static str;

/// A value that stands behind a flag.
pub(crate) trait Value {
    fn to_word(&self) -> OsString;

    /// Whether Apptainer can make sense of it.
    fn check(&self) -> Result<(), Reason> {
        Ok(())
    }
}

impl Value for OsString {
    fn to_word(&self) -> OsString {
        self.clone()
    }
}

impl Value for PathBuf {
    fn to_word(&self) -> OsString {
        self.as_os_str().to_owned()
    }
}

impl Value for String {
    fn to_word(&self) -> OsString {
        self.into()
    }
}

impl Value for u32 {
    fn to_word(&self) -> OsString {
        self.to_string().into()
    }
}

impl Value for IpAddr {
    fn to_word(&self) -> OsString {
        self.to_string().into()
    }
}

/// By name where it has one, which is easier to read; by number otherwise.
impl Value for Signal {
    fn to_word(&self) -> OsString {
        match self.name() {
            Some(name) => name.into(),
            None => self.number().to_string().into(),
        }
    }
}

/// As Go reads it: `90s`, `1500ms`.
impl Value for Duration {
    fn to_word(&self) -> OsString {
        if self.subsec_nanos() == 0 {
            format!("{}s", self.as_secs())
        } else if self.subsec_nanos().is_multiple_of(1_000_000) {
            format!("{}ms", self.as_millis())
        } else {
            format!("{}ns", self.as_nanos())
        }
        .into()
    }

    fn check(&self) -> Result<(), Reason> {
        match i64::try_from(self.as_nanos()) {
            Ok(_) => Ok(()),
            Err(_) => Err("it must be less than 292 years"),
        }
    }
}

/// `word` as one field of a line of CSV, quoted only where it must be.
pub(crate) fn csv_field(word: &OsStr) -> OsString {
    let bytes = word.as_bytes();
    let plain = !bytes.is_empty()
        && !bytes.starts_with(b" ")
        && !bytes.iter().any(|byte| b",\"\r\n".contains(byte));
    if plain {
        return word.to_owned();
    }
    let mut quoted = vec![b'"'];
    for byte in bytes {
        if *byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    OsString::from_vec(quoted)
}

/// Whether `name` begins with a letter or digit and goes on with those and `others`.
pub(super) fn is_name(name: &str, others: &[u8]) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_csv_is_quoted_only_where_it_must_be() {
        let cases = [
            ("plain", "plain"),
            ("a b", "a b"),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
        ];
        for (word, field) in cases {
            assert_eq!(csv_field(OsStr::new(word)), field);
        }
    }

    #[test]
    fn durations_are_written_in_the_largest_unit_that_holds_them() {
        let cases = [
            (Duration::from_secs(90), "90s"),
            (Duration::from_millis(1500), "1500ms"),
            (Duration::from_micros(1500), "1500000ns"),
            (Duration::ZERO, "0s"),
        ];
        for (duration, word) in cases {
            assert_eq!(duration.to_word(), word);
        }
        assert!(Duration::MAX.check().is_err());
    }

    #[test]
    fn signals_are_written_by_name_where_they_have_one() {
        assert_eq!(Signal::TERM.to_word(), "SIGTERM");
        let realtime = Signal::from_number(libc::SIGRTMIN() + 2).unwrap();
        assert_eq!(
            realtime.to_word(),
            (libc::SIGRTMIN() + 2).to_string().as_str()
        );
    }
}

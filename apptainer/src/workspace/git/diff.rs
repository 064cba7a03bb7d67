//! A file as it was and as it is.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::text;

/// A file larger than this is not read for a [`GitDiff`]: 1 MiB.
pub const MAX_DIFF_BYTES: u64 = 1024 * 1024;

/// A file as it was in a commit, and as it is.
///
/// Its bytes as they are: nothing is done to the ends of lines, and a symbolic link is the path
/// that it leads to. In JSON an object of `modified` and `original`, as the Python SDK of
/// OpenHands has it, text or null. What is not UTF-8 is shown there with U+FFFD for what is not,
/// and is exact, in Base64, in `modified_base64` or `original_base64`, which count where they are
/// there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
#[non_exhaustive]
pub struct GitDiff {
    /// What it holds now; `None` where it is no longer there.
    pub modified: Option<Bytes>,
    /// What it held in the commit; `None` where that does not have it.
    pub original: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    modified: Option<String>,
    original: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_base64: Option<String>,
}

impl GitDiff {
    /// One of these.
    pub fn new(modified: Option<Bytes>, original: Option<Bytes>) -> Self {
        Self { modified, original }
    }

    /// [`modified`](Self::modified) as text, for people: what is no UTF-8 is replaced.
    pub fn modified_text(&self) -> Option<Cow<'_, str>> {
        self.modified.as_deref().map(String::from_utf8_lossy)
    }

    /// [`original`](Self::original) as text, for people: what is no UTF-8 is replaced.
    pub fn original_text(&self) -> Option<Cow<'_, str>> {
        self.original.as_deref().map(String::from_utf8_lossy)
    }

    /// Whether git would take either side for something other than text: it has a NUL byte among
    /// its first 8000.
    pub fn is_binary(&self) -> bool {
        let sides = [&self.modified, &self.original];
        let mut sides = sides.into_iter().flatten();
        sides.any(|side| side.iter().take(8000).any(|byte| *byte == 0))
    }

    /// Whether both sides are the same.
    pub fn is_empty(&self) -> bool {
        self.modified == self.original
    }
}

impl From<GitDiff> for Json {
    fn from(diff: GitDiff) -> Self {
        let shown = |side: &Option<Bytes>| side.as_deref().map(text::shown);
        let exact = |side: &Option<Bytes>| side.as_deref().and_then(text::exact);
        Self {
            modified: shown(&diff.modified),
            original: shown(&diff.original),
            modified_base64: exact(&diff.modified),
            original_base64: exact(&diff.original),
        }
    }
}

impl TryFrom<Json> for GitDiff {
    type Error = String;

    fn try_from(json: Json) -> Result<Self, String> {
        let side = |shown: Option<String>, exact| {
            let bytes = shown.map(|shown| text::bytes(shown, exact)).transpose();
            Ok::<_, String>(bytes?.map(Bytes::from))
        };
        Ok(Self {
            modified: side(json.modified, json.modified_base64)?,
            original: side(json.original, json.original_base64)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(modified: Option<&'static [u8]>, json: &str) {
        let diff = GitDiff::new(modified.map(Bytes::from_static), None);
        assert_eq!(serde_json::to_string(&diff).unwrap(), json);
        assert_eq!(serde_json::from_str::<GitDiff>(json).unwrap(), diff);
    }

    #[test]
    fn in_json_it_is_as_in_python_and_keeps_what_is_no_text() {
        round_trip(Some(b"a\n"), r#"{"modified":"a\n","original":null}"#);
        round_trip(None, r#"{"modified":null,"original":null}"#);
        let json = r#"{"modified":"�","original":null,"modified_base64":"/w=="}"#;
        round_trip(Some(b"\xff"), json);
    }

    #[test]
    fn what_is_no_text_can_be_told() {
        let diff = |bytes| GitDiff::new(None, Some(Bytes::from_static(bytes)));
        assert!(diff(b"a\0b").is_binary());
        assert!(!diff(b"ab\xff").is_binary());
        assert_eq!(diff(b"\xff").original_text().unwrap(), "\u{fffd}");
    }
}

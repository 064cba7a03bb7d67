//! A file that has been changed.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text;

/// How a file differs from the commit that it is compared with.
///
/// In JSON its name in capital letters, as in the Python SDK of OpenHands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum GitStatus {
    /// It has another path. Never given by [`Git`](super::Git), as never by the Python SDK: the
    /// old path is deleted and the new one added.
    Moved,
    /// The commit does not have it: it has been added, or is not tracked and not ignored either.
    Added,
    /// It is in the commit, and no longer there.
    Deleted,
    /// Its contents, type or permissions differ, or it has conflicts.
    Updated,
}

impl fmt::Display for GitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Moved => "moved",
            Self::Added => "added",
            Self::Deleted => "deleted",
            Self::Updated => "updated",
        })
    }
}

/// A file that has been changed.
///
/// In JSON an object of `status` and `path`, as the Python SDK of OpenHands has it. A path that
/// is not UTF-8 is shown in `path` with U+FFFD for what is not, and is exact, in Base64, in
/// `path_base64`, which counts where it is there.
///
/// ```
/// use apptainer::workspace::{GitChange, GitStatus};
///
/// let change: GitChange = serde_json::from_str(r#"{"status": "ADDED", "path": "src/new.rs"}"#)?;
/// assert_eq!(change, GitChange::new(GitStatus::Added, "src/new.rs"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Json", into = "Json")]
#[non_exhaustive]
pub struct GitChange {
    /// How it differs.
    pub status: GitStatus,
    /// Its path, relative to the directory that was asked about. Of a repository that is not
    /// tracked, and a submodule, that of its directory.
    pub path: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Json {
    status: GitStatus,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

impl GitChange {
    /// One of these.
    pub fn new(status: GitStatus, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { status, path }
    }
}

impl From<GitChange> for Json {
    fn from(change: GitChange) -> Self {
        let path = change.path.as_os_str().as_bytes();
        Self {
            status: change.status,
            path: text::shown(path),
            path_base64: text::exact(path),
        }
    }
}

impl TryFrom<Json> for GitChange {
    type Error = String;

    fn try_from(json: Json) -> Result<Self, String> {
        let path = text::bytes(json.path, json.path_base64)?;
        Ok(Self::new(json.status, OsString::from_vec(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(path: &[u8], json: &str) {
        let path = OsString::from_vec(path.to_vec());
        let change = GitChange::new(GitStatus::Updated, path);
        assert_eq!(serde_json::to_string(&change).unwrap(), json);
        assert_eq!(serde_json::from_str::<GitChange>(json).unwrap(), change);
    }

    #[test]
    fn in_json_it_is_as_in_python() {
        round_trip(b"a b/\xc3\xa4", r#"{"status":"UPDATED","path":"a b/ä"}"#);
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_not_lost_in_json() {
        let json = r#"{"status":"UPDATED","path":"a�b","path_base64":"Yf9i"}"#;
        round_trip(b"a\xffb", json);
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        let json = r#"{"status":"UPDATED","path":"a","path_base64":"!"}"#;
        assert!(serde_json::from_str::<GitChange>(json).is_err());
    }
}

//! `apptainer oci state`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Unknown;

/// The state of an OCI container: that of the OCI runtime specification, and what
/// Apptainer adds to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct OciState {
    /// The version of the specification.
    pub oci_version: String,
    /// The container.
    pub id: String,
    /// `creating`, `created`, `running`, `stopped` or `paused`.
    pub status: String,
    /// Its first process, as the host numbers it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Its bundle.
    pub bundle: PathBuf,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// When it was made, in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// When it was started, in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// When it ended, in nanoseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<i64>,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How it ended, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_desc: Option<String>,
    /// The socket to attach to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_socket: Option<PathBuf>,
    /// The socket that controls its terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_socket: Option<PathBuf>,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_none() {
        let text = r#"{"ociVersion":"1.0.2","id":"a","status":"created","pid":7,
            "bundle":"/b","createdAt":1700000000000000000,"later":[1]}"#;
        let state: OciState = serde_json::from_str(text).unwrap();
        assert_eq!((state.pid, state.exit_code), (Some(7), None));
        let before: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_value(&state).unwrap(), before);
    }
}

//! What agent servers are sent and what they answer, as JSON.
//!
//! As the `OpenAPI` description of `openhands-agent-server` 1.58.2 has it, and as that answers. Fields
//! that earlier versions (from 1.43) do not have are optional; ones that are not known are left out.

use serde::{Deserialize, Serialize};

/// A shell line to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExecuteBashRequest {
    pub(crate) command: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// In seconds.
    #[serde(default = "default_timeout")]
    pub(crate) timeout: i64,
}

fn default_timeout() -> i64 {
    300
}

/// Something that is told of shell lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum BashEvent {
    #[serde(rename = "BashCommand")]
    Command(BashCommand),
    #[serde(rename = "BashOutput")]
    Output(BashOutput),
    #[serde(rename = "BashError")]
    Error(BashError),
}

/// A shell line was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BashCommand {
    /// 32 hexadecimal digits.
    pub(crate) id: String,
    /// In UTC, as RFC 3339 has it.
    pub(crate) timestamp: String,
    pub(crate) command: String,
    pub(crate) cwd: Option<String>,
    pub(crate) timeout: i64,
}

/// What a shell line wrote, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BashOutput {
    pub(crate) id: String,
    pub(crate) timestamp: String,
    pub(crate) command_id: String,
    /// From 0 on for each command.
    pub(crate) order: u64,
    /// With the last one.
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
}

/// What went wrong on a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BashError {
    pub(crate) code: String,
    pub(crate) detail: String,
}

/// Some of all events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BashEventPage {
    pub(crate) items: Vec<BashEvent>,
    pub(crate) next_page_id: Option<String>,
}

/// How many events were forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cleared {
    pub(crate) cleared_count: u64,
}

/// That something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Success {
    pub(crate) success: bool,
    /// Of an upload, in bytes; not before 1.58.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file_size: Option<u64>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// Text, or for what was not as it should be a list of what was not.
    pub(crate) detail: serde_json::Value,
}

/// The first frame of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "auth")]
pub(crate) struct Authenticate {
    pub(crate) session_api_key: String,
}

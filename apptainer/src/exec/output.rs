//! What a command wrote, all of it.

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
    /// Whether it was ended because its [timeout](super::Command::timeout) had
    /// passed. The outputs hold what it wrote until then.
    pub timed_out: bool,
    /// Whether something that it left in the background still held an output, so
    /// that what that writes is missing.
    pub is_cut: bool,
}

//! What has been changed.

use std::path::Path;

use serde::Deserialize;

use super::{AgentServer, AgentServerError};
use crate::workspace::{GitChange, GitDiff};

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GitCommit {
    /// Its hash, in hexadecimal digits.
    pub sha: String,
    /// Its beginning, as people write it.
    #[serde(default)]
    pub short_sha: String,
    /// The first line of its message.
    #[serde(default)]
    pub subject: String,
    /// Who made it.
    #[serde(default)]
    pub author: String,
    /// When, as RFC 3339 has it.
    #[serde(default)]
    pub timestamp: String,
}

#[derive(Deserialize)]
struct Commits {
    commits: Vec<GitCommit>,
}

/// Its repositories. Paths that do not begin with a slash begin in the working directory.
impl AgentServer {
    /// What has been changed in the repository of a directory; nothing where there is none.
    /// Cancel-safe.
    pub async fn git_changes(
        &self,
        path: impl AsRef<Path>,
    ) -> Result<Vec<GitChange>, AgentServerError> {
        const DOING: &str = "ask what has been changed";
        let path = self.text(DOING, path.as_ref())?;
        let http = &self.shared.http;
        let request = http.get("api/git/changes").query(&[("path", path)]);
        http.json(DOING, request).await
    }

    /// A file as it was, and as it is. Servers refuse files above 1 MiB. Cancel-safe.
    pub async fn git_diff(&self, path: impl AsRef<Path>) -> Result<GitDiff, AgentServerError> {
        const DOING: &str = "ask how a file has been changed";
        let path = self.text(DOING, path.as_ref())?;
        let http = &self.shared.http;
        let request = http.get("api/git/diff").query(&[("path", path)]);
        http.json(DOING, request).await
    }

    /// The latest commits of the repository of a directory, at most 200, newest first; none where
    /// there is no repository. Cancel-safe.
    pub async fn git_commits(
        &self,
        path: impl AsRef<Path>,
        most: usize,
    ) -> Result<Vec<GitCommit>, AgentServerError> {
        const DOING: &str = "ask for commits";
        let path = self.text(DOING, path.as_ref())?;
        let most = most.clamp(1, 200).to_string();
        let http = &self.shared.http;
        let query = [("path", path), ("limit", most)];
        let request = http.get("api/git/commits").query(&query);
        let commits: Commits = http.json(DOING, request).await?;
        Ok(commits.commits)
    }
}

//! As a workspace among others.

use std::ffi::OsStr;
use std::path::Path;

use bytes::Bytes;

use super::AgentServer;
use crate::workspace::{
    BaseWorkspace, CommandResult, ExecuteOptions, GitChange, GitDiff, WorkspaceError,
    WorkspaceFuture,
};

impl BaseWorkspace for AgentServer {
    fn working_dir(&self) -> &Path {
        self.working_dir()
    }

    fn execute<'a>(
        &'a self,
        line: &'a OsStr,
        options: ExecuteOptions,
    ) -> WorkspaceFuture<'a, CommandResult> {
        let mut execute = self.execute(line);
        if let Some(path) = options.current_dir {
            execute = execute.current_dir(path);
        }
        if let Some(limit) = options.timeout {
            execute = execute.timeout(limit);
        }
        Box::pin(async move { Ok(execute.await?) })
    }

    fn upload<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64> {
        Box::pin(async move { Ok(self.upload(source, destination).await?) })
    }

    fn download<'a>(&'a self, source: &'a Path, destination: &'a Path) -> WorkspaceFuture<'a, u64> {
        Box::pin(async move { Ok(self.download(source, destination).await?) })
    }

    fn read<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Bytes> {
        Box::pin(async move { Ok(self.read(path).await?) })
    }

    fn write<'a>(&'a self, path: &'a Path, contents: Bytes) -> WorkspaceFuture<'a, ()> {
        Box::pin(async move { Ok(self.write(path, contents).await?) })
    }

    fn git_changes<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, Vec<GitChange>> {
        Box::pin(async move { Ok(self.git_changes(path).await?) })
    }

    fn git_diff<'a>(&'a self, path: &'a Path) -> WorkspaceFuture<'a, GitDiff> {
        Box::pin(async move { Ok(self.git_diff(path).await?) })
    }

    fn is_alive(&self) -> WorkspaceFuture<'_, bool> {
        Box::pin(async move {
            let runs = self.workspace().is_none_or(crate::Workspace::is_alive);
            Ok(runs && self.alive().await)
        })
    }

    fn pause(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(async move {
            let workspace = self
                .workspace()
                .ok_or_else(|| foreign("pause a workspace"))?;
            workspace.pause().await.map(|_| ())
        })
    }

    fn resume(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(async move {
            let workspace = self
                .workspace()
                .ok_or_else(|| foreign("resume a workspace"))?;
            workspace.resume().await
        })
    }

    fn stop(&self) -> WorkspaceFuture<'_, ()> {
        Box::pin(async move { Ok(self.stop().await?) })
    }
}

fn foreign(doing: &'static str) -> WorkspaceError {
    WorkspaceError::Unsupported {
        doing,
        reason: "the agent server was started by somebody else, and cannot do it itself",
    }
}

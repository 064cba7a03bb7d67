//! Workspaces.

mod execute;
mod files;
mod fork;
mod git;
mod session;
mod snapshot;
mod started;

use apptainer::workspace::CommandResult;

/// What a line wrote that went well.
fn said(result: &CommandResult) -> String {
    assert_eq!(result.exit_code, 0, "{result:?}");
    result.stdout_text()
}

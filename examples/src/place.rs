//! Workspaces of the examples.

use apptainer::Apptainer;
use apptainer::instance::Privileges;
use apptainer::workspace::{Source, WorkspaceBuilder};
use clap::Args;

/// What a workspace of an example is told.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Take root's privileges away.
    #[arg(long)]
    no_privs: bool,
    /// Have the user inside be who it is outside, and not root.
    #[arg(long)]
    no_fakeroot: bool,
}

impl Place {
    /// One on an image.
    pub fn workspace(&self, apptainer: &Apptainer, image: impl Into<Source>) -> WorkspaceBuilder {
        let workspace = apptainer.workspace(image).fakeroot(!self.no_fakeroot);
        if self.no_privs {
            workspace.with_spec(|spec| spec.privileges(Privileges::Drop))
        } else {
            workspace
        }
    }
}

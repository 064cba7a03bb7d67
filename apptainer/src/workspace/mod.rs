//! Directories that somebody works in, in a container.

mod git;

pub use git::{Git, GitChange, GitDiff, GitError, GitProgram, GitStatus, MAX_DIFF_BYTES};

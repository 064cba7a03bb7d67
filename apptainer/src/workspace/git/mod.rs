//! What has been changed in a repository.
//!
//! ```text
//! handle.rs       changes and diffs, as callers have them
//! repository.rs   what a repository's git is asked
//! base.rs         which commit is compared with
//! status.rs       what git prints, parsed; compare.rs   what follows from it
//! image.rs        running the container's own git
//! host.rs host/   running the host's, on files that nobody vouches for
//! ```

mod base;
mod change;
mod compare;
mod diff;
mod error;
mod handle;
mod host;
mod image;
mod program;
mod ran;
mod repository;
mod status;
mod text;

pub use change::{GitChange, GitStatus};
pub use diff::{GitDiff, MAX_DIFF_BYTES};
pub use error::GitError;
pub use handle::Git;
pub use program::GitProgram;

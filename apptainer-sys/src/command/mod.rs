//! Apptainer's commands as types that know their own argv.
//!
//! One file a command, one builder a command. A builder is pure: it starts
//! nothing and reads nothing. [`Install::invocation`](crate::Install::invocation)
//! checks it against the Apptainer that was found and makes a process of it.
//!
//! ```
//! use apptainer_sys::command::{Bind, Exec, Subcommand};
//!
//! let mut exec = Exec::new("debian.sif", "ls", ["-l", "/data"]);
//! exec.action.contain(true).bind(Bind::new("/srv/data").to("/data").read_only());
//! exec.foreground.cwd("/data");
//! assert_eq!(
//!     exec.argv(),
//!     ["exec", "--bind", "/srv/data:/data:ro", "--contain", "--cwd", "/data", "debian.sif", "ls", "-l", "/data"],
//! );
//! ```

mod action;
mod bind;
mod build;
mod buildcfg;
pub mod cache;
mod exec;
mod global;
mod inspect;
pub mod instance;
mod options;
mod pull;
mod run;
mod subcommand;
mod version;

pub use action::{ActionOptions, ForegroundOptions};
pub use bind::{Access, Bind, Mount, MountError};
pub use build::Build;
pub use buildcfg::BuildCfg;
pub use exec::Exec;
pub use global::{GlobalOptions, Verbosity};
pub use inspect::Inspect;
pub use options::Flag;
pub use pull::Pull;
pub use run::Run;
pub use subcommand::{CommandError, Subcommand};
pub use version::PrintVersion;

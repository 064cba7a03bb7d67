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
mod build;
mod buildcfg;
pub mod cache;
pub mod capability;
pub mod checkpoint;
mod confgen;
pub mod config;
mod delete;
mod exec;
mod flag;
mod global;
mod inspect;
pub mod instance;
pub mod key;
pub mod keyserver;
pub mod oci;
mod options;
pub mod overlay;
pub mod plugin;
mod pull;
mod push;
pub mod registry;
pub mod remote;
mod run;
mod run_help;
mod search;
mod shell;
pub mod sif;
mod sign;
mod subcommand;
mod table;
mod test;
mod value;
mod verify;
mod version;

pub use action::{ActionOptions, ForegroundOptions};
pub use build::{Build, Section};
pub use buildcfg::BuildCfg;
pub use confgen::ConfGen;
pub use delete::Delete;
pub use exec::Exec;
pub use flag::{Arity, CommandInfo, Flag};
pub use global::{GlobalOptions, Verbosity};
pub use inspect::Inspect;
pub use pull::Pull;
pub use push::Push;
pub use run::Run;
pub use run_help::RunHelp;
pub use search::Search;
pub use shell::Shell;
pub use sign::Sign;
pub use subcommand::{CommandError, Subcommand};
pub use table::COMMANDS;
pub use test::Test;
pub use value::{
    Access, Bind, BlkioWeight, Bytes, Capability, CpuShares, Device, DeviceWeight, FuseMount, Home,
    Mount, Network, NetworkArgs, NoMount, Overlay, ParseCapabilityError, PortMap, Protocol,
    Scratch, Security,
};
pub use verify::Verify;
pub use version::PrintVersion;

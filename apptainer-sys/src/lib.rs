//! Typed, spawn-level bindings of [Apptainer](https://apptainer.org).
//!
//! This crate says what Apptainer *is*: its commands and flags as types
//! ([`command`]), what they print ([`output`]), what its exit codes and error
//! lines mean ([`exit`]), what it leaves on disk ([`state`], [`sif`]), and how to
//! start, hold, limit and end the processes that it makes ([`process`],
//! [`cgroup`]). It is synchronous, decides nothing and logs nothing; for that there is the
//! `apptainer` crate, which is built on it.
//!
//! It is a `-sys` crate of a program, not of a library: nothing is linked, so it
//! has no `links` key. It runs on Linux, from 5.4 on.
//!
//! ```no_run
//! use apptainer_sys::command::{Exec, GlobalOptions};
//! use apptainer_sys::process::Stdio;
//! use apptainer_sys::Install;
//!
//! let install = Install::discover()?;
//! let mut exec = Exec::new("debian.sif", "cat", ["/etc/os-release"]);
//! exec.action.cleanenv(true);
//! let mut spawn = install.invocation(&GlobalOptions::silent(), &exec)?;
//! spawn.stdout(Stdio::pipe());
//! let captured = spawn.spawn()?.output()?;
//! println!("{}: {}", captured.exit, String::from_utf8_lossy(&captured.stdout));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cgroup;
pub mod command;
mod deadline;
pub mod environment;
pub mod exit;
pub mod feature;
mod install;
pub mod output;
pub mod process;
pub mod sif;
pub mod state;
mod version;

pub use feature::Feature;
pub use install::{Install, InstallError, PROGRAM_VARIABLE};
pub use version::{ParseVersionError, Version};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

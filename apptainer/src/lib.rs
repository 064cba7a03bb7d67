//! Run programs in [Apptainer](https://apptainer.org) containers as easily as
//! host processes: no daemon, no root, on the machines where HPC happens.
//!
//! ```no_run
//! use apptainer::Apptainer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), apptainer::Error> {
//! let apptainer = Apptainer::discover().await?;
//! let image = apptainer.image("docker://alpine:3").await?;
//!
//! let instance = image.container().bind("/srv/data", "/data").start().await?;
//! let listing = instance.command("ls").arg("/data").output().await?;
//! print!("{}", String::from_utf8_lossy(&listing.stdout));
//! instance.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! - An [`Image`] is something to run: a SIF file, a sandbox directory, or what a
//!   URI names, fetched once into a store.
//! - A [`Container`] is an image and what shapes it: binds, environment, overlay.
//! - An [`Instance`] is a container that runs in the background until it is
//!   [stopped](Instance::stop) or dropped.
//! - A [`Supervisor`](instance::Supervisor) starts instances of a [`Spec`](instance::Spec), knows how
//!   each is, and finds them again after a crash.
//! - A [`Link`] is a container that is there for commands and nothing else.
//! - A [`Command`] runs in any of these, shaped like `tokio::process::Command`.
//!
//! # Limitations
//!
//! - Linux 5.4 or later, and Apptainer 1.2 or later.
//! - Needs a tokio runtime with its I/O and time drivers enabled.
//! - When the calling process is killed outright, its running instances go on, and the
//!   commands that took an `apptainer exec` of their own: nobody is left to end them. What a
//!   [`Supervisor`](instance::Supervisor) started is found again, by the next of its name or by
//!   [`Apptainer::reap`].

#[cfg(feature = "agent-server")]
pub mod agent_server;
#[cfg(feature = "agent-server")]
mod api_key;
mod blocking;
mod client;
mod container;
mod error;
pub mod exec;
pub mod files;
mod folders;
#[cfg(feature = "agent-server")]
pub mod gateway;
pub mod image;
pub mod instance;
mod lock;
mod mountinfo;
mod process;
mod variables;
pub mod workspace;

pub use apptainer_sys as sys;

pub use client::{Apptainer, Builder};
pub use container::{
    AmdGpus, BindMount, Contain, Container, ContainerError, Gpu, GpuDevice, GpuRequest, Gpus,
    HomeDir, MissingGpu, NvidiaGpus, OverlayLayer,
};
pub use error::{ApptainerFailure, Error};
pub use exec::{Child, Command, ExitStatus, Link, Output, Stdio};
pub use files::Files;
pub use image::{Image, Reference, Rootfs};
pub use instance::Instance;
pub use workspace::Workspace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

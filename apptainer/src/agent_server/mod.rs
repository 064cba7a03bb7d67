//! OpenHands' agent server: starting one in a container, and using it.
//!
//! An [`AgentServer`] is a client of one. [`Apptainer::agent_server`](crate::Apptainer::agent_server)
//! starts the server first, in an instance that ends with it; [`AgentServer::connect`] uses one that
//! runs already, wherever that is. Either is a
//! [`BaseWorkspace`](crate::workspace::BaseWorkspace).
//!
//! ```no_run
//! # async fn example(apptainer: apptainer::Apptainer) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! let server = apptainer.agent_server("agent-server.sif").start().await?;
//! let result = server
//!     .execute("pytest -q")
//!     .timeout(Duration::from_secs(90))
//!     .await?;
//! print!("{}", result.stdout_text());
//! server.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! What it speaks with is version 1.43 or later.

mod builder;
mod client;
mod command;
mod connect;
mod conversation;
mod error;
mod events;
mod execute;
mod files;
mod git;
mod http;
mod info;
mod socket;
pub(crate) mod wire;
mod workspace;

pub use builder::AgentServerBuilder;
pub use client::AgentServer;
pub use command::{OutputChunk, RunningCommand};
pub use connect::Connect;
pub use conversation::{Conversation, ConversationEvent, ConversationEvents};
pub use error::AgentServerError;
pub use execute::Execute;
pub use git::GitCommit;
pub use info::{ServerInfo, ServerVersion};

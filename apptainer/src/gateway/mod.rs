//! A server that speaks as OpenHands' agent server does, over any workspace.
//!
//! The Python SDK's `RemoteWorkspace`, unmodified, then works in a container whose image has neither
//! Python nor a server in it:
//!
//! ```no_run
//! # async fn example(apptainer: apptainer::Apptainer) -> Result<(), Box<dyn std::error::Error>> {
//! use apptainer::gateway::Gateway;
//!
//! let workspace = apptainer.workspace("docker://busybox:1").start().await?;
//! let gateway = Gateway::builder(&workspace).start().await?;
//! // Workspace(host=HOST, api_key=KEY, working_dir="/workspace")
//! println!("HOST={} KEY={}", gateway.url(), gateway.api_key());
//! # std::future::pending::<()>().await;
//! gateway.stop().await?;
//! workspace.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! It answers the routes of version 1.58.2 below `/api/bash`, `/api/file` and `/api/git`, the same
//! ones below `/api/conversations/{id}`, `/health`, `/alive`, `/ready`, `/server_info`, and the socket
//! `/sockets/bash-events`.
//!
//! # What is not as with the agent server
//!
//! - A key is always needed, and only loopback addresses are listened on unless
//!   [told](GatewayBuilder::expose) otherwise.
//! - Without a `cwd`, commands run in the workspace's working directory.
//! - Output is told of while a command runs: after 50 ms or 64 KiB at first, and after up to a second
//!   or 1 MiB of a command that has said much.
//! - A search for the output of one command that still runs, oldest first, is answered when the command
//!   has ended: so a client that asks again and again does not have to. The answer comes without that
//!   after half the command's timeout, 20 s at most, and half a second after there is something new.
//! - What a command wrote before it took too long is kept, and the end of its standard error says
//!   `Command timed out after N seconds`, by which the SDK knows it. No timeout is below one second.
//! - What a command left in the background holds no answer up for longer than 250 ms.
//! - A caller of the blocking route that hangs up ends its command.
//! - Uploads are there as a whole or not at all.
//!
//! # Limitations
//!
//! - Events are kept in memory, up to a [bound](GatewayBuilder::max_history): then the oldest of
//!   commands that have ended are forgotten, and then the oldest output of those that run.
//! - There are no conversations, commits or archives: those routes are answered with 501.

mod answer;
mod bash;
mod builder;
mod error;
mod events;
mod file;
mod git;
mod input;
mod listen;
mod routes;
mod run;
mod running;
mod socket;
mod state;
mod text;

pub use builder::GatewayBuilder;
pub use error::GatewayError;
pub use running::Gateway;

//! The crates against real Apptainer, real registries and real trouble.
//!
//! One program, so that it is linked once; a file a subject. Run by nextest.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod agent;
mod agent_server;
mod bare_agent;
mod carrier;
mod cgroup;
mod definition;
mod detach;
mod dice;
mod discover;
mod environment;
mod equality;
mod examples;
mod exec;
mod exec_failures;
mod export;
mod files;
mod gateway;
mod git;
mod health;
mod image;
mod instance;
mod instance_failures;
mod instances_chaos;
mod kill;
mod limits;
mod logs;
mod lying_registry;
mod output;
mod pool;
mod registry_trouble;
mod resolve;
mod signature;
mod spec;
mod store;
mod store_chaos;
mod store_clocks;
mod store_trouble;
mod store_users;
mod stray;
mod stream;
mod stream_link;
mod supervisor;
mod workspace;

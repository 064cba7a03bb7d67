//! The agent that starts commands in containers, when all goes well and when it does not.

mod agent_killed;
mod caller_killed;
mod ending;
mod footprint;
mod hung;
mod images;
mod kill;
mod many;
mod nonsense;
mod processes;
mod runtimes;
mod shortage;
mod soak;
mod start;
mod streams;
mod terminal;
mod ways;

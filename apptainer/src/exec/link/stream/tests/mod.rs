//! Links over a stream whose other end is played here.

mod agent;
mod commands;
mod credit;
mod links;
mod malformed;
mod wake;

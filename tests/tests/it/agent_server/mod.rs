//! OpenHands' agent server, and what is no such.

mod commands;
mod conversation;
mod files;
mod odd;
mod started;

//! Gateways: by plain HTTP, and by OpenHands' own Python SDK.

mod bash;
mod client;
mod ends;
mod files;
mod requests;
mod sdk;
mod socket;

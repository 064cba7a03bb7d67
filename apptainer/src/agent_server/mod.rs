//! OpenHands' agent server: starting one in a container, and using it.

pub(crate) mod wire;

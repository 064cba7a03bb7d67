//! What `apptainer-sys` knows of Apptainer, against Apptainer itself: where it makes
//! no difference who runs it, and with what rights.
//!
//! Run by nextest.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod sif;

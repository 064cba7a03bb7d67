//! What an instance may use of the machine, and what holds it to that.
//!
//! A cgroup does where one can be had: for root, and for a user to whom one is delegated.
//! Elsewhere each limit has the next best means, or none, which is then an error before
//! anything is started.

mod affinity;
mod enclosure;
mod error;
mod findings;
mod groups;
mod kills;
mod mechanism;
mod record;
mod settings;
#[cfg(test)]
mod tests;
mod threads;
mod watchdog;

pub use error::LimitError;
pub use mechanism::{Mechanism, Mechanisms};
pub use settings::Limits;
pub(in crate::instance) use {
    enclosure::{Enclosure, EnclosureEvent},
    groups::Site,
    record::EnclosureRecord,
    watchdog::Exceeded,
};

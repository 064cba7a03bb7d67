mod data;
mod grouped;

mod shell;
mod ungrouped;

use shell::Shell;

use super::{Enclosure, EnclosureEvent, Exceeded, LimitError, Limits, Mechanism, Mechanisms};

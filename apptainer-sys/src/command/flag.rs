//! What there is to know of commands and flags without using them.

use crate::Feature;

/// A command of Apptainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandInfo {
    /// The words that name it: `["instance", "start"]`.
    pub name: &'static [&'static str],
    /// What Apptainer must have for it; `None` where every supported one has it.
    pub since: Option<Feature>,
    /// The flags that it takes: those that it shares with others, and its own.
    pub flags: &'static [&'static [Flag]],
}

/// A flag that a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flag {
    /// Its long name: `--bind`.
    pub name: &'static str,
    /// What stands behind it.
    pub arity: Arity,
    /// What Apptainer must have for it; `None` where every supported one has it.
    pub since: Option<Feature>,
}

/// What stands behind a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arity {
    /// Nothing.
    Switch,
    /// A value; of several, the last counts.
    Value,
    /// A value, as often as there are any.
    Each,
    /// Values as a line of CSV, as often as there are any.
    List,
}

impl Flag {
    pub(crate) const fn new(name: &'static str, arity: Arity, since: Option<Feature>) -> Self {
        Self { name, arity, since }
    }
}

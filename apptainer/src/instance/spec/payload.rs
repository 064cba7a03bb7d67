//! What runs in an instance.

use serde::{Deserialize, Serialize};

/// What runs in an instance.
///
/// In arguments `{port:NAME}` stands for the number of a port that the
/// [spec](super::Spec::port) declares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Payload {
    /// Nothing: it is there for commands, until it is stopped.
    #[default]
    Nothing,
    /// The image's startscript, with these arguments.
    Start(Vec<String>),
    /// The image's runscript, with these arguments: what `apptainer run` runs.
    Run(Vec<String>),
    /// A program in the container, and its arguments.
    Command(Vec<String>),
}

impl Payload {
    pub(in crate::instance) fn words(&self) -> &[String] {
        match self {
            Self::Nothing => &[],
            Self::Start(words) | Self::Run(words) | Self::Command(words) => words,
        }
    }

    pub(super) fn words_mut(&mut self) -> &mut [String] {
        match self {
            Self::Nothing => &mut [],
            Self::Start(words) | Self::Run(words) | Self::Command(words) => words,
        }
    }

    /// Which it is, as JSON has it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Start(_) => "start",
            Self::Run(_) => "run",
            Self::Command(_) => "command",
        }
    }
}

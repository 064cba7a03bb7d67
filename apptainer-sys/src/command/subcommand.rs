//! What all commands have in common.

use std::ffi::OsString;

use super::{Flag, MountError};
use crate::environment::VariableError;
use crate::{Feature, Version};

/// A command of Apptainer, ready to be given an argv.
///
/// The trait is sealed: the commands are Apptainer's.
pub trait Subcommand: sealed::Sealed {
    /// The words that name it: `["instance", "start"]`.
    fn name(&self) -> &'static [&'static str];

    /// Adds its flags and then its positional words to `argv`.
    ///
    /// Apptainer takes no flag behind the first positional word.
    fn arguments(&self, argv: &mut Vec<OsString>);

    /// Variables that it needs in the environment of the `apptainer` process.
    fn environment(&self) -> Result<Vec<(OsString, OsString)>, VariableError> {
        Ok(Vec::new())
    }

    /// Whether an Apptainer of the version `found` takes it, with all that is set.
    fn check(&self, found: Version) -> Result<(), CommandError>;

    /// All words behind `apptainer [global options]`.
    fn argv(&self) -> Vec<OsString> {
        let mut argv: Vec<OsString> = self.name().iter().map(Into::into).collect();
        self.arguments(&mut argv);
        argv
    }
}

pub(crate) mod sealed {
    pub trait Sealed {}
}

/// A command cannot be given to the Apptainer that was found, or to any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The Apptainer that was found is too old for a flag.
    #[error("use {flag}: it needs Apptainer {needed}, and this is {found}", needed = .feature.since())]
    Unsupported {
        /// The flag that was set.
        flag: &'static str,
        /// What it needs.
        feature: Feature,
        /// The version that was found.
        found: Version,
    },
    /// A variable for the container cannot be set.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// A bind or mount cannot be expressed.
    #[error(transparent)]
    Mount(#[from] MountError),
}

pub(super) fn check_flags(
    flags: &'static [Flag],
    set: &[bool],
    found: Version,
) -> Result<(), CommandError> {
    let used = flags.iter().zip(set).filter(|(_, set)| **set);
    for (flag, _) in used {
        if let Some(feature) = flag.since.filter(|feature| feature.since() > found) {
            return Err(CommandError::Unsupported {
                flag: flag.name,
                feature,
                found,
            });
        }
    }
    Ok(())
}

//! What all commands have in common.

use std::ffi::OsString;

use super::options::Emit;
use super::{CommandInfo, Flag};
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

    /// Adds the flags that stand before the last word of its name, which few
    /// commands have.
    fn parent_arguments(&self, argv: &mut Vec<OsString>) {
        let _ = argv;
    }

    /// Variables that it needs in the environment of the `apptainer` process.
    fn environment(&self) -> Result<Vec<(OsString, OsString)>, VariableError> {
        Ok(Vec::new())
    }

    /// Whether an Apptainer of the version `found` takes it, with all that is set.
    fn check(&self, found: Version) -> Result<(), CommandError>;

    /// All words behind `apptainer [global options]`.
    fn argv(&self) -> Vec<OsString> {
        let (first, rest) = self.name().split_first().expect("every command has a name");
        let mut argv = vec![first.into()];
        self.parent_arguments(&mut argv);
        argv.extend(rest.iter().map(Into::into));
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
    /// The Apptainer that was found is too old for the command.
    #[error("run apptainer {name}: it needs Apptainer {needed}, and this is {found}", needed = .feature.since())]
    UnsupportedCommand {
        /// The command.
        name: String,
        /// What it needs.
        feature: Feature,
        /// The version that was found.
        found: Version,
    },
    /// A variable for the container cannot be set.
    #[error(transparent)]
    Variable(#[from] VariableError),
    /// A value is none that Apptainer can make sense of.
    #[error("use {flag} {value:?}: {reason}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// What would have stood behind it.
        value: OsString,
        /// What is wrong with it.
        reason: &'static str,
    },
}

pub(super) fn check_command(command: &CommandInfo, found: Version) -> Result<(), CommandError> {
    match command.since.filter(|feature| feature.since() > found) {
        None => Ok(()),
        Some(feature) => Err(CommandError::UnsupportedCommand {
            name: command.name.join(" "),
            feature,
            found,
        }),
    }
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

pub(super) fn check_value(flag: &'static str, field: &impl Emit) -> Result<(), CommandError> {
    field.check().map_err(|invalid| CommandError::Value {
        flag,
        value: invalid.word,
        reason: invalid.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Device, Exec, Mount, registry};

    #[test]
    fn what_the_found_version_lacks_is_refused() {
        let list = registry::List::new();
        assert!(list.check(Version::new(1, 3, 0)).is_ok());
        let error = list.check(Version::new(1, 2, 5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "run apptainer registry list: it needs Apptainer 1.3.0, and this is 1.2.5"
        );
        let mut exec = Exec::new("a.sif", "true", [] as [&str; 0]);
        assert!(exec.check(Version::new(1, 2, 0)).is_ok());
        exec.foreground.device(Device::named("nvidia.com/gpu=0"));
        let error = exec.check(Version::new(1, 4, 5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "use --device: it needs Apptainer 1.5.0, and this is 1.4.5"
        );
    }

    #[test]
    fn what_apptainer_cannot_make_sense_of_is_refused() {
        let mut exec = Exec::new("a.sif", "true", [] as [&str; 0]);
        exec.action.mount(Mount::bind("/a", "b"));
        let error = exec.check(Version::new(1, 4, 5)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "use --mount \"type=bind,source=/a,destination=b\": the destination must be an absolute path"
        );
    }

    #[test]
    fn a_word_that_looks_like_a_flag_stands_behind_a_separator() {
        let search = crate::command::Search::new("--signed");
        assert_eq!(search.argv(), ["search", "--", "--signed"]);
    }
}

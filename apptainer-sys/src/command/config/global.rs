//! `apptainer config global`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Changes `apptainer.conf`, as root: `apptainer config global DIRECTIVE [VALUE]`.
    pub command Global = ["config", "global"] {
        groups {}
        positional {
            directive: OsString,
            value: Option<OsString>,
        }
        flags {
            /// Prints the file that would be written.
            dry_run: switch = "--dry-run";
            /// Prints a value.
            get: mode = "--get";
            /// Goes back to the default.
            reset: mode = "--reset";
            /// Sets a value, or adds to a list.
            set: mode = "--set";
            /// Takes a value out of a list.
            unset_value: mode = "--unset";
        }
    }
}

impl Global {
    /// Prints the value of `directive`.
    pub fn get(directive: impl Into<OsString>) -> Self {
        Self {
            directive: directive.into(),
            get: true,
            ..Self::unset()
        }
    }

    /// Sets `directive`, or adds to it where it is a list.
    pub fn set(directive: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        Self {
            directive: directive.into(),
            value: Some(value.into()),
            set: true,
            ..Self::unset()
        }
    }

    /// Takes `value` out of the list `directive`.
    pub fn remove(directive: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        Self {
            directive: directive.into(),
            value: Some(value.into()),
            unset_value: true,
            ..Self::unset()
        }
    }

    /// Gives `directive` its default.
    pub fn reset(directive: impl Into<OsString>) -> Self {
        Self {
            directive: directive.into(),
            reset: true,
            ..Self::unset()
        }
    }
}

//! `apptainer config fakeroot`.

use std::ffi::OsString;

use crate::command::options::options;

options! {
    /// Changes a user's subuid and subgid ranges, as root: `apptainer config fakeroot USER`.
    pub command Fakeroot = ["config", "fakeroot"] {
        groups {}
        positional {
            user: OsString,
        }
        flags {
            /// Gives a range.
            add: mode = "--add";
            /// Switches the range off.
            disable: mode = "--disable";
            /// Switches the range on again.
            enable: mode = "--enable";
            /// Takes the range away.
            remove: mode = "--remove";
        }
    }
}

impl Fakeroot {
    /// Gives `user` a range.
    pub fn add(user: impl Into<OsString>) -> Self {
        Self {
            user: user.into(),
            add: true,
            ..Self::unset()
        }
    }

    /// Takes `user`'s range away.
    pub fn remove(user: impl Into<OsString>) -> Self {
        Self {
            user: user.into(),
            remove: true,
            ..Self::unset()
        }
    }

    /// Switches `user`'s range on again.
    pub fn enable(user: impl Into<OsString>) -> Self {
        Self {
            user: user.into(),
            enable: true,
            ..Self::unset()
        }
    }

    /// Switches `user`'s range off.
    pub fn disable(user: impl Into<OsString>) -> Self {
        Self {
            user: user.into(),
            disable: true,
            ..Self::unset()
        }
    }
}

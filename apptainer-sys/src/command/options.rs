//! The one place where a typed option becomes words of an argv.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::CommandError;
use super::value::{Reason, Value, csv_field};
use crate::Version;
use crate::environment::VariableError;

/// What an option adds to an argv; nothing when it was never set.
pub(crate) trait Emit {
    fn is_set(&self) -> bool;
    fn emit(&self, flag: &str, argv: &mut Vec<OsString>);

    /// Whether Apptainer can make sense of its values.
    fn check(&self) -> Result<(), Invalid> {
        Ok(())
    }
}

/// A value that Apptainer cannot make sense of.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) word: OsString,
    pub(crate) reason: Reason,
}

fn check_each<'a, T: Value + 'a>(values: impl IntoIterator<Item = &'a T>) -> Result<(), Invalid> {
    values.into_iter().try_for_each(|value| {
        value.check().map_err(|reason| Invalid {
            word: value.to_word(),
            reason,
        })
    })
}

impl Emit for bool {
    fn is_set(&self) -> bool {
        *self
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        if *self {
            argv.push(flag.into());
        }
    }
}

impl<T: Value> Emit for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        if let Some(value) = self {
            argv.extend([flag.into(), value.to_word()]);
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_each(self)
    }
}

/// Values of a flag that is given once, separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined<T>(pub(crate) Vec<T>);

/// Values of a flag that is given once for each, and is not split any further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Each<T>(pub(crate) Vec<T>);

/// Values of a flag that is given once for each, and read as a line of CSV.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

macro_rules! empty_by_default {
    ($($several:ident),*) => { $(
        impl<T> Default for $several<T> {
            fn default() -> Self {
                Self(Vec::new())
            }
        }
    )* };
}
empty_by_default!(Joined, Each, List);

impl<T: Value> Joined<T> {
    fn to_word(&self) -> OsString {
        let words: Vec<_> = self.0.iter().map(Value::to_word).collect();
        words.join(OsStr::new(","))
    }
}

impl<T: Value> Emit for Joined<T> {
    fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        if self.is_set() {
            argv.extend([flag.into(), self.to_word()]);
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_each(&self.0)
    }
}

impl<T: Value> Emit for Each<T> {
    fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        for value in &self.0 {
            argv.extend([flag.into(), value.to_word()]);
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_each(&self.0)
    }
}

impl<T: Value> Emit for List<T> {
    fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    fn emit(&self, flag: &str, argv: &mut Vec<OsString>) {
        for value in &self.0 {
            argv.extend([flag.into(), csv_field(&value.to_word())]);
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        check_each(&self.0)
    }
}

/// A path or reference where flags have ended: it must not look like one.
pub(crate) fn positional(word: &OsStr) -> OsString {
    if word.as_bytes().starts_with(b"-") {
        let mut safe = OsString::from("./");
        safe.push(word);
        safe
    } else {
        word.to_owned()
    }
}

/// Adds what stands behind the flags, so that it is never taken for one of them.
pub(crate) fn append_positional(argv: &mut Vec<OsString>, words: Vec<OsString>) {
    let looks_like_flag = |word: &OsString| word.as_bytes().starts_with(b"-");
    if words.first().is_some_and(looks_like_flag) {
        argv.push("--".into());
    }
    argv.extend(words);
}

/// A set of flags that several commands share.
pub(crate) trait Group {
    fn emit(&self, argv: &mut Vec<OsString>);
    fn check(&self, found: Version) -> Result<(), CommandError>;
    fn environment(&self) -> Result<Vec<(OsString, OsString)>, VariableError> {
        Ok(Vec::new())
    }
}

/// What stands behind the flags.
pub(crate) trait Positional {
    fn emit(&self, argv: &mut Vec<OsString>);
}

impl Positional for OsString {
    fn emit(&self, argv: &mut Vec<OsString>) {
        argv.push(self.clone());
    }
}

impl Positional for Option<OsString> {
    fn emit(&self, argv: &mut Vec<OsString>) {
        argv.extend(self.clone());
    }
}

impl<T: Value> Positional for Joined<T> {
    fn emit(&self, argv: &mut Vec<OsString>) {
        if !self.0.is_empty() {
            argv.push(self.to_word());
        }
    }
}

impl Positional for Vec<OsString> {
    fn emit(&self, argv: &mut Vec<OsString>) {
        argv.extend(self.iter().cloned());
    }
}

/// Declares options: a struct with a setter for each flag, the table of its
/// flags, and how they become words.
///
/// `pub group NAME { flags.. }` is a set of flags that several commands share.
/// `pub command NAME = [words] since Feature under parent: Options { groups {..}
/// positional {..} flags {..} }` is a command: its name on the command line, what
/// it needs, the flags that stand within its name, the groups it shares, what
/// stands behind its flags, and flags of its own.
///
/// A flag is `name: KIND = "--flag" since Feature;` with one of the kinds
/// `switch` (present or not), `value(T)` (the last one set counts), `joined(T)`
/// (one word, separated by commas), `each(T)` (repeated), `list(T)` (repeated, each
/// read as CSV), `mode` (a switch that only
/// the constructors set) and `answer(T)` (a switch that is asked about on the
/// terminal unless it is there, as `--flag=true` or `--flag=false`).
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub group $name:ident {
            $(@variables $variables:ident;)?
            $( $(#[$doc:meta])* $field:ident : $kind:ident $(($ty:ty))? = $flag:literal $(since $feature:ident)?; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $( $variables: Vec<(std::ffi::OsString, std::ffi::OsString)>, )?
            $( $field: options!(@type $kind $(($ty))?), )*
            extra: Vec<std::ffi::OsString>,
        }

        impl $name {
            options! { @methods $( $(#[$doc])* $field $kind $(($ty))? = $flag $(since $feature)?; )* }
        }

        options! { @group $name $($variables)? }
    };

    (
        $(#[$meta:meta])*
        pub command $name:ident = [$($word:literal),+]
            $(since $command_since:ident)? $(under $parent:ident : $parent_ty:ty)? {
            groups { $( $(#[$group_doc:meta])* $group:ident : $group_ty:ty, )* }
            positional { $( $positional:ident : $positional_ty:ty, )* }
            flags {
                $( $(#[$doc:meta])* $field:ident : $kind:ident $(($ty:ty))? = $flag:literal $(since $feature:ident)?; )*
            }
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(
                /// What stands before the last word of its name.
                pub $parent: $parent_ty,
            )?
            $( $(#[$group_doc])* pub $group: $group_ty, )*
            $( $positional: $positional_ty, )*
            $( $field: options!(@type $kind $(($ty))?), )*
            extra: Vec<std::ffi::OsString>,
        }

        impl $name {
            /// Its name and the flags that it takes.
            pub const COMMAND: crate::command::CommandInfo = crate::command::CommandInfo {
                name: &[$($word),+],
                since: options!(@since $($command_since)?),
                flags: &[$( <$group_ty>::FLAGS, )* Self::FLAGS],
            };

            fn unset() -> Self {
                Self {
                    $( $parent: Default::default(), )?
                    $( $group: Default::default(), )*
                    $( $positional: Default::default(), )*
                    $( $field: Default::default(), )*
                    extra: Vec::new(),
                }
            }

            options! { @methods $( $(#[$doc])* $field $kind $(($ty))? = $flag $(since $feature)?; )* }
        }

        options! { @new $name $($positional)* }

        impl crate::command::subcommand::sealed::Sealed for $name {}

        impl crate::command::Subcommand for $name {
            fn name(&self) -> &'static [&'static str] {
                Self::COMMAND.name
            }

            $(
                fn parent_arguments(&self, argv: &mut Vec<std::ffi::OsString>) {
                    crate::command::options::Group::emit(&self.$parent, argv);
                }
            )?

            fn arguments(&self, argv: &mut Vec<std::ffi::OsString>) {
                $( crate::command::options::Group::emit(&self.$group, argv); )*
                self.emit_flags(argv);
                #[allow(unused_mut, clippy::allow_attributes, reason = "some commands stand alone")]
                let mut words = Vec::new();
                $( crate::command::options::Positional::emit(&self.$positional, &mut words); )*
                crate::command::options::append_positional(argv, words);
            }

            fn environment(
                &self,
            ) -> Result<
                Vec<(std::ffi::OsString, std::ffi::OsString)>,
                crate::environment::VariableError,
            > {
                #[allow(unused_mut, clippy::allow_attributes, reason = "some commands have no groups")]
                let mut variables = Vec::new();
                $( variables.extend(crate::command::options::Group::environment(&self.$group)?); )*
                Ok(variables)
            }

            fn check(&self, found: crate::Version) -> Result<(), crate::command::CommandError> {
                crate::command::subcommand::check_command(&Self::COMMAND, found)?;
                $( crate::command::options::Group::check(&self.$parent, found)?; )?
                $( crate::command::options::Group::check(&self.$group, found)?; )*
                self.check_flags(found)
            }
        }
    };

    (@methods $( $(#[$doc:meta])* $field:ident $kind:ident $(($ty:ty))? = $flag:literal $(since $feature:ident)?; )*) => {
        /// The flags that this type knows, each once.
        pub const FLAGS: &'static [crate::command::Flag] = &[
            $( crate::command::Flag::new(
                $flag,
                options!(@arity $kind),
                options!(@since $($feature)?),
            ), )*
        ];

        $( options! { @setter $(#[$doc])* $field $kind $(($ty))? } )*

        /// Words to add as they are, behind the flags set here: for what an
        /// Apptainer newer than these bindings has learned.
        pub fn extra_args<W: Into<std::ffi::OsString>>(
            &mut self,
            words: impl IntoIterator<Item = W>,
        ) -> &mut Self {
            self.extra.extend(words.into_iter().map(Into::into));
            self
        }

        fn emit_flags(&self, argv: &mut Vec<std::ffi::OsString>) {
            $( crate::command::options::Emit::emit(&self.$field, $flag, argv); )*
            argv.extend(self.extra.iter().cloned());
        }

        #[allow(unused_variables, clippy::allow_attributes, reason = "some commands have no flags")]
        fn check_flags(&self, found: crate::Version) -> Result<(), crate::command::CommandError> {
            let set: &[bool] = &[ $( crate::command::options::Emit::is_set(&self.$field), )* ];
            crate::command::subcommand::check_flags(Self::FLAGS, set, found)?;
            $( crate::command::subcommand::check_value($flag, &self.$field)?; )*
            Ok(())
        }
    };

    // One with variables says itself what becomes of them.
    (@group $name:ident $variables:ident) => {};
    (@group $name:ident) => {
        impl crate::command::options::Group for $name {
            fn emit(&self, argv: &mut Vec<std::ffi::OsString>) {
                self.emit_flags(argv);
            }

            fn check(&self, found: crate::Version) -> Result<(), crate::command::CommandError> {
                self.check_flags(found)
            }
        }
    };

    // A command with positional words has constructors that take them.
    (@new $name:ident $($positional:ident)+) => {};
    (@new $name:ident) => {
        impl $name {
            /// The command, with nothing set.
            pub fn new() -> Self {
                Self::unset()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };

    (@type switch) => { bool };
    (@type mode) => { bool };
    (@type answer($ty:ty)) => { Option<$ty> };
    (@type value($ty:ty)) => { Option<$ty> };
    (@type joined($ty:ty)) => { crate::command::options::Joined<$ty> };
    (@type each($ty:ty)) => { crate::command::options::Each<$ty> };
    (@type list($ty:ty)) => { crate::command::options::List<$ty> };

    (@arity switch) => { crate::command::Arity::Switch };
    (@arity mode) => { crate::command::Arity::Switch };
    (@arity answer) => { crate::command::Arity::Switch };
    (@arity value) => { crate::command::Arity::Value };
    (@arity joined) => { crate::command::Arity::Value };
    (@arity each) => { crate::command::Arity::Each };
    (@arity list) => { crate::command::Arity::List };

    (@since) => { None };
    (@since $feature:ident) => { Some(crate::Feature::$feature) };

    (@setter $(#[$doc:meta])* $field:ident switch) => {
        $(#[$doc])*
        pub fn $field(&mut self, on: bool) -> &mut Self {
            self.$field = on;
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident mode) => {};
    (@setter $(#[$doc:meta])* $field:ident answer($ty:ty)) => {
        options! { @setter $(#[$doc])* $field value($ty) }
    };
    (@setter $(#[$doc:meta])* $field:ident value($ty:ty)) => {
        $(#[$doc])*
        pub fn $field(&mut self, value: impl Into<$ty>) -> &mut Self {
            self.$field = Some(value.into());
            self
        }
    };
    (@setter $(#[$doc:meta])* $field:ident $repeated:ident($ty:ty)) => {
        $(#[$doc])*
        ///
        /// Each call adds one.
        pub fn $field(&mut self, value: impl Into<$ty>) -> &mut Self {
            self.$field.0.push(value.into());
            self
        }
    };
}
pub(crate) use options;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_positional_word_is_never_taken_for_a_flag() {
        assert_eq!(positional(OsStr::new("--writable")), "./--writable");
        assert_eq!(positional(OsStr::new("image.sif")), "image.sif");
    }
}

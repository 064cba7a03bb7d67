//! The environment that Apptainer and the container are given.
//!
//! Apptainer reads nearly every flag from a variable too (`APPTAINER_BIND`,
//! `SINGULARITY_PWD`, even `APPTAINER_JSON`), so whatever happens to be set
//! around the caller would change what a command does. [`scrubbed`] takes all of
//! these away but the few that say where Apptainer keeps its files.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// Variables with Apptainer's prefixes that survive [`scrubbed`]: where it keeps
/// its configuration, cache and temporary files, and how it logs in.
///
/// Each is read with the prefix `APPTAINER_` and, when that is not set, with
/// `SINGULARITY_`.
pub const SETTINGS: &[&str] = &[
    "CONFIGDIR",
    "CACHEDIR",
    "TMPDIR",
    "AUTH_FILE",
    "DOCKER_USERNAME",
    "DOCKER_PASSWORD",
];

const PREFIXES: [&str; 4] = [
    "APPTAINERENV_",
    "SINGULARITYENV_",
    "APPTAINER_",
    "SINGULARITY_",
];

/// `variables` without those that steer Apptainer, other than [`SETTINGS`].
///
/// ```
/// use apptainer_sys::environment::scrubbed;
///
/// let kept = scrubbed([
///     ("PATH".into(), "/bin".into()),
///     ("APPTAINER_BIND".into(), "/data".into()),
///     ("APPTAINER_CACHEDIR".into(), "/scratch/cache".into()),
/// ]);
/// let names: Vec<_> = kept.into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["PATH", "APPTAINER_CACHEDIR"]);
/// ```
pub fn scrubbed(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    variables
        .into_iter()
        .filter(|(name, _)| !steers(name))
        .collect()
}

fn steers(name: &OsStr) -> bool {
    let name = name.as_bytes();
    PREFIXES.iter().any(|prefix| {
        name.strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| !SETTINGS.iter().any(|setting| setting.as_bytes() == rest))
    })
}

/// Why a variable cannot be given to a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VariableError {
    /// Apptainer sets variables in a shell, which takes no other names.
    #[error(
        "set the variable {name:?}: a name is letters, digits and underscores and does not start with a digit"
    )]
    Name {
        /// The name given.
        name: OsString,
    },
    /// Apptainer refuses this one.
    #[error(
        "set the variable HOME: Apptainer keeps that one to itself; set the home directory instead"
    )]
    Home,
    /// Apptainer replaces what is not UTF-8 in a value, and nothing can carry a NUL.
    #[error("set the variable {name}: its value {value:?} is not UTF-8 text without NUL bytes")]
    Value {
        /// The variable.
        name: String,
        /// The value given.
        value: OsString,
    },
}

/// How a command treats the values of injected variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evaluation {
    /// The default: the value is evaluated by a shell within double quotes.
    Shell,
    /// `--no-eval` and `--compat`: the value is taken as it is.
    Literal,
}

/// A variable for the container as one for Apptainer: `APPTAINERENV_NAME`.
///
/// This is the one way that carries every value. `--env` splits at commas and
/// eats quotes, and a value that ends in a backslash makes Apptainer drop every
/// variable it was asked to set, silently. Here the value arrives as it is.
pub(crate) fn injected(
    name: &OsStr,
    value: &OsStr,
    evaluation: Evaluation,
) -> Result<(OsString, OsString), VariableError> {
    let name = checked_name(name)?;
    let Some(value) = value.to_str().filter(|text| !text.contains('\0')) else {
        return Err(VariableError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
        });
    };
    let value = match evaluation {
        Evaluation::Literal => value.to_owned(),
        Evaluation::Shell => escaped(value),
    };
    Ok((format!("APPTAINERENV_{name}").into(), value.into()))
}

fn checked_name(name: &OsStr) -> Result<&str, VariableError> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match name.to_str() {
        Some("HOME") => Err(VariableError::Home),
        Some(text)
            if text.bytes().all(|byte| is_word(&byte))
                && !text.is_empty()
                && !text.as_bytes()[0].is_ascii_digit() =>
        {
            Ok(text)
        }
        _ => Err(VariableError::Name {
            name: name.to_owned(),
        }),
    }
}

/// Quotes are left to Apptainer, which escapes them (and only them) itself.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        if matches!(character, '\\' | '$' | '`') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_scrubbed_and_nothing_else() {
        let all = [
            "APPTAINER_PWD",
            "SINGULARITY_BIND",
            "APPTAINERENV_X",
            "SINGULARITYENV_X",
            "SINGULARITY_CACHEDIR",
            "APPTAINERS",
            "HOME",
        ];
        let kept = scrubbed(all.map(|name| (name.into(), "1".into())));
        let names: Vec<_> = kept.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["SINGULARITY_CACHEDIR", "APPTAINERS", "HOME"]);
    }

    #[test]
    fn what_a_shell_would_expand_is_escaped_unless_taken_literally() {
        let value = OsStr::new(r#"a,b "c" $HOME `id` \"#);
        let name = OsStr::new("V");
        assert_eq!(
            injected(name, value, Evaluation::Shell).unwrap(),
            (
                "APPTAINERENV_V".into(),
                r#"a,b "c" \$HOME \`id\` \\"#.into()
            )
        );
        assert_eq!(injected(name, value, Evaluation::Literal).unwrap().1, value);
    }

    #[test]
    fn names_that_a_shell_cannot_set_are_refused() {
        for name in ["", "1A", "A-B", "A=B", "Ä", "A B"] {
            let error = injected(OsStr::new(name), OsStr::new(""), Evaluation::Shell);
            assert!(matches!(error, Err(VariableError::Name { .. })), "{name}");
        }
        let home = injected(OsStr::new("HOME"), OsStr::new("/"), Evaluation::Shell);
        assert_eq!(home, Err(VariableError::Home));
    }

    #[test]
    fn values_that_apptainer_would_change_are_refused() {
        for value in [&b"\xff"[..], b"a\0b"] {
            let error = injected(
                OsStr::new("A"),
                OsStr::from_bytes(value),
                Evaluation::Literal,
            );
            assert!(matches!(error, Err(VariableError::Value { .. })));
        }
    }
}

//! Values of Apptainer's flags as JSON has them: words.

use std::fmt;
use std::path::PathBuf;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;
use serde::{Deserialize, Deserializer, Serializer, de, ser};

/// What is one word in JSON.
pub(super) trait Word: Sized {
    fn to_word(&self) -> Result<String, String>;
    fn from_word(word: &str) -> Result<Self, String>;
}

impl Word for Capability {
    fn to_word(&self) -> Result<String, String> {
        Ok(self.name().to_owned())
    }

    fn from_word(word: &str) -> Result<Self, String> {
        word.parse().map_err(|error| format!("{error}"))
    }
}

const NO_MOUNTS: [(NoMount, &str); 9] = [
    (NoMount::BindPaths, "bind-paths"),
    (NoMount::Cwd, "cwd"),
    (NoMount::Dev, "dev"),
    (NoMount::Devpts, "devpts"),
    (NoMount::Home, "home"),
    (NoMount::Hostfs, "hostfs"),
    (NoMount::Proc, "proc"),
    (NoMount::Sys, "sys"),
    (NoMount::Tmp, "tmp"),
];

impl Word for NoMount {
    fn to_word(&self) -> Result<String, String> {
        if let Self::Path(path) = self {
            let text = path.to_str().map(str::to_owned);
            return text.ok_or_else(|| "a path is not UTF-8".to_owned());
        }
        let mut known = NO_MOUNTS.iter();
        let found = known.find_map(|(mount, word)| (mount == self).then(|| (*word).to_owned()));
        found.ok_or_else(|| format!("{self:?} has no word"))
    }

    fn from_word(word: &str) -> Result<Self, String> {
        if word.starts_with('/') {
            return Ok(Self::Path(PathBuf::from(word)));
        }
        let mut known = NO_MOUNTS.into_iter();
        known
            .find_map(|(mount, known)| (known == word).then_some(mount))
            .ok_or_else(|| {
                let words = NO_MOUNTS.map(|(_, word)| word).join(", ");
                format!("{word:?} is no mount: one of {words}, or the path of a bind path")
            })
    }
}

impl Word for Signal {
    fn to_word(&self) -> Result<String, String> {
        Ok(match self.name() {
            Some(name) => name.to_owned(),
            None => self.number().to_string(),
        })
    }

    fn from_word(word: &str) -> Result<Self, String> {
        let signals = || (1..=64).filter_map(Self::from_number);
        let number = word.parse().ok();
        let by_number = number.and_then(Self::from_number);
        let short = |signal: &Self| Some(signal.name()?.trim_start_matches("SIG").to_owned());
        let wanted = word.trim_start_matches("SIG");
        by_number
            .or_else(|| signals().find(|signal| short(signal).as_deref() == Some(wanted)))
            .ok_or_else(|| format!("{word:?} is no signal: they are named as in SIGTERM"))
    }
}

/// A number of 0o777, in octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::instance) struct Umask(pub(in crate::instance) u32);

impl Word for Umask {
    fn to_word(&self) -> Result<String, String> {
        Ok(format!("{:03o}", self.0))
    }

    fn from_word(word: &str) -> Result<Self, String> {
        let mask = u32::from_str_radix(word, 8);
        let mask = mask.map_err(|_| format!("{word:?} is no umask: octal digits, as in 027"))?;
        Ok(Self(mask))
    }
}

fn read<T: Word, E: de::Error>(word: &str) -> Result<T, E> {
    T::from_word(word).map_err(E::custom)
}

/// Several.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Serializer, Word, read, ser};

    pub(in super::super) fn serialize<T: Word, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let words: Result<Vec<_>, _> = values.iter().map(Word::to_word).collect();
        serializer.collect_seq(words.map_err(ser::Error::custom)?)
    }

    pub(in super::super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        words.iter().map(|word| read(word)).collect()
    }
}

/// One, or none.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Serializer, Word, read, ser};

    #[expect(
        clippy::ref_option,
        reason = "serde calls it with a reference to the field"
    )]
    pub(in super::super) fn serialize<T: Word, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            None => serializer.serialize_none(),
            Some(value) => serializer.serialize_str(&value.to_word().map_err(ser::Error::custom)?),
        }
    }

    pub(in super::super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        let word = Option::<String>::deserialize(deserializer)?;
        word.as_deref().map(read).transpose()
    }
}

impl fmt::Display for Umask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03o}", self.0)
    }
}

//! For which machines an image is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The machines that an image runs on, in the words that registries and Apptainer use, which
/// are Go's: `linux/amd64`, `linux/arm64/v8`.
///
/// ```
/// use apptainer::image::Platform;
///
/// let arm: Platform = "arm64".parse()?;
/// assert_eq!(arm.to_string(), "linux/arm64");
/// # Ok::<(), apptainer::image::PlatformError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    architecture: String,
    variant: Option<String>,
}

/// Text that names no platform that containers of Apptainer's run on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read the platform {text:?}: write it like linux/amd64 or linux/arm64/v8")]
pub struct PlatformError {
    /// The text.
    pub text: String,
}

const OS: &str = "linux";

impl Platform {
    /// This machine's.
    pub fn host() -> Self {
        Self {
            architecture: go_architecture(std::env::consts::ARCH).to_owned(),
            variant: None,
        }
    }

    /// The architecture: `amd64`, `arm64`.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Its variant, where one was named: `v8`.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// What an entry of an index says it is for; `None` where that is not Linux.
    pub(super) fn offered(os: &str, architecture: &str, variant: Option<&str>) -> Option<Self> {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(is_word_byte);
        let variant = variant.filter(|variant| !variant.is_empty());
        (os == OS && is_word(architecture) && variant.is_none_or(is_word)).then(|| Self {
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// How well something that is for `offered` does where this is wanted: the less the
    /// better; `None` where it does not run.
    ///
    /// What 64-bit ARM calls `v8` is all there is of it. An older variant of 32-bit ARM runs on
    /// a newer one; where none is wanted, the newest counts.
    pub(super) fn distance(&self, offered: &Self) -> Option<u32> {
        if self.architecture != offered.architecture {
            return None;
        }
        let number = |platform: &Self| -> Option<u32> {
            match (platform.variant(), platform.architecture()) {
                (None, "arm64") => Some(8),
                (None, "amd64") => Some(1),
                (None, _) => None,
                (Some(variant), _) => variant.strip_prefix('v')?.parse().ok(),
            }
        };
        match (number(self), number(offered)) {
            _ if self.variant == offered.variant => Some(0),
            (Some(wanted), Some(found)) => wanted.checked_sub(found),
            // Nothing is said on one side: anything does, and the newest best.
            (None, Some(found)) => Some(100_u32.saturating_sub(found)),
            (Some(_), None) => Some(100),
            (None, None) => None,
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
}

/// Go's word for an architecture of Rust's.
fn go_architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "mips64" if cfg!(target_endian = "little") => "mips64le",
        "mips" if cfg!(target_endian = "little") => "mipsle",
        same => same,
    }
}

impl Default for Platform {
    fn default() -> Self {
        Self::host()
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.split('/').peekable();
        if words.peek() == Some(&OS) {
            words.next();
        }
        let architecture = words.next().unwrap_or_default();
        let variant = words.next();
        let is_whole = words.next().is_none() && variant != Some("");
        let platform = Self::offered(OS, architecture, variant).filter(|_| is_whole);
        platform.ok_or_else(|| PlatformError {
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OS}/{}", self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in ["linux/amd64", "linux/arm64/v8", "linux/386"] {
            assert_eq!(platform(text).to_string(), text);
        }
        assert_eq!(platform("arm/v7").to_string(), "linux/arm/v7");
    }

    #[test]
    fn what_is_no_platform_is_refused() {
        for text in ["", "linux", "linux/", "linux/arm/v7/x", "AMD64", "arm/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_variant_that_runs_is_chosen() {
        let wanted = platform("arm/v7");
        assert_eq!(wanted.distance(&platform("arm/v7")), Some(0));
        assert_eq!(wanted.distance(&platform("arm/v6")), Some(1));
        assert_eq!(wanted.distance(&platform("arm/v8")), None);
        assert_eq!(wanted.distance(&platform("arm64")), None);
        let any = platform("arm");
        assert!(any.distance(&platform("arm/v7")) < any.distance(&platform("arm/v6")));
        assert_eq!(platform("arm64").distance(&platform("arm64/v8")), Some(0));
        assert_eq!(platform("amd64").distance(&platform("amd64/v3")), None);
    }
}

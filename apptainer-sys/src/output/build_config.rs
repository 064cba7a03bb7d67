//! `apptainer buildcfg`.

use std::collections::BTreeMap;
use std::path::Path;

/// How an Apptainer was built: the `NAME=VALUE` lines of `buildcfg`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    values: BTreeMap<String, String>,
}

impl BuildConfig {
    /// Reads the lines; those without `=` are passed over.
    pub fn parse(text: &str) -> Self {
        let values = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Self { values }
    }

    /// One value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether it was installed with a setuid starter.
    pub fn is_suid(&self) -> bool {
        self.get("APPTAINER_SUID_INSTALL") == Some("1")
    }

    /// Where its own helper programs are.
    pub fn libexec(&self) -> Option<&Path> {
        self.get("LIBEXECDIR").map(Path::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name() {
        let config =
            BuildConfig::parse("PREFIX=/usr\nLIBEXECDIR=/usr/lib\n\nAPPTAINER_SUID_INSTALL=0\n");
        assert_eq!(config.get("PREFIX"), Some("/usr"));
        assert_eq!(config.libexec(), Some(Path::new("/usr/lib")));
        assert!(!config.is_suid());
        assert_eq!(config.get("NONE"), None);
    }
}

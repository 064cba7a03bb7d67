//! `apptainer remote list` and `apptainer registry list`.

use super::table::{is_ticked, rows};

/// A remote as `apptainer remote list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(
    clippy::struct_excessive_bools,
    reason = "Apptainer ticks them off one by one"
)]
pub struct ListedRemote {
    /// Its name.
    pub name: String,
    /// Its address, without a scheme.
    pub uri: String,
    /// Whether it is the one in use.
    pub is_default: bool,
    /// Whether it is the installation's, not the user's.
    pub is_global: bool,
    /// Whether users may choose no other.
    pub is_exclusive: bool,
    /// Whether it is spoken to by HTTPS.
    pub is_secure: bool,
}

/// A registry as `apptainer registry list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedRegistry {
    /// What was logged in to: `docker://ghcr.io`.
    pub uri: String,
    /// Whether it is spoken to by HTTPS.
    pub is_secure: bool,
}

impl ListedRemote {
    /// Reads the table.
    pub fn parse(text: &str) -> Vec<Self> {
        let read = |cells: Vec<String>| {
            let [name, uri, default, global, exclusive, secure] = cells.try_into().ok()?;
            Some(Self {
                name,
                uri,
                is_default: is_ticked(&default),
                is_global: is_ticked(&global),
                is_exclusive: is_ticked(&exclusive),
                is_secure: is_ticked(&secure),
            })
        };
        rows(text, "NAME").filter_map(read).collect()
    }
}

impl ListedRegistry {
    /// Reads the table.
    pub fn parse(text: &str) -> Vec<Self> {
        let read = |cells: Vec<String>| {
            let [uri, secure] = cells.try_into().ok()?;
            Some(Self {
                uri,
                is_secure: is_ticked(&secure),
            })
        };
        rows(text, "URI").filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read() {
        let text = "
NAME           URI                  DEFAULT?  GLOBAL?  EXCLUSIVE?  SECURE?
DefaultRemote  cloud.apptainer.org            ✓                    ✓
lab            lab.example.org      ✓                              ✗!
";
        let remotes = ListedRemote::parse(text);
        assert_eq!(remotes.len(), 2);
        assert!(remotes[0].is_global && remotes[0].is_secure && !remotes[0].is_default);
        assert_eq!(remotes[1].uri, "lab.example.org");
        assert!(remotes[1].is_default && !remotes[1].is_secure);
    }

    #[test]
    fn no_registries_are_none() {
        assert_eq!(ListedRegistry::parse("\nURI  SECURE?\n"), []);
    }
}

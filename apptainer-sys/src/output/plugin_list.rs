//! `apptainer plugin list`.

/// A plugin as `apptainer plugin list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedPlugin {
    /// Its name: `example.org/log`.
    pub name: String,
    /// Whether it is switched on.
    pub is_enabled: bool,
}

impl ListedPlugin {
    /// Reads the lines; those that tell of no plugin are passed over.
    pub fn parse(text: &str) -> Vec<Self> {
        let read = |line: &str| {
            let (enabled, name) = line.trim().split_once("  ")?;
            let is_enabled = match enabled {
                "yes" => true,
                "no" => false,
                _ => return None,
            };
            Some(Self {
                name: name.to_owned(),
                is_enabled,
            })
        };
        text.lines().filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_is_no_plugin() {
        let text = "ENABLED  NAME\n    yes  example.org/log\n     no  example.org/other\n";
        let plugins = ListedPlugin::parse(text);
        assert_eq!(plugins.len(), 2);
        assert!(plugins[0].is_enabled && !plugins[1].is_enabled);
        assert_eq!(plugins[1].name, "example.org/other");
        assert_eq!(ListedPlugin::parse("There are no plugins installed.\n"), []);
    }
}

//! `apptainer cache list --verbose`.

use super::table::rows;

/// An entry of Apptainer's cache as `apptainer cache list --verbose` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheEntry {
    /// The beginning of its name: at most 22 characters.
    pub name: String,
    /// When it was made: `2026-11-23 17:21:22`.
    pub created: String,
    /// Its size, rounded: `1.04 MiB`.
    pub size: String,
    /// The part of the cache that it is in: `oci-tmp`.
    pub kind: String,
}

impl CacheEntry {
    /// Reads the table.
    pub fn parse(text: &str) -> Vec<Self> {
        let read = |cells: Vec<String>| {
            let [name, created, size, kind] = cells.try_into().ok()?;
            Some(Self {
                name,
                created,
                size,
                kind,
            })
        };
        rows(text, "NAME").filter_map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_are_no_entries() {
        let text = "\
NAME                     DATE CREATED           SIZE             TYPE
188981500a4a3b4fd9481a   2026-11-23 17:21:22    1.04 MiB         oci-tmp

There are 1 container file(s) using 1.04 MiB and 0 oci blob file(s) using 0.00 KiB of space
";
        let entries = CacheEntry::parse(text);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].created, "2026-11-23 17:21:22");
        assert_eq!(
            (entries[0].size.as_str(), entries[0].kind.as_str()),
            ("1.04 MiB", "oci-tmp")
        );
    }
}

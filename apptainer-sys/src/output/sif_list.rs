//! `apptainer sif list`.

use crate::sif::Link;

/// An object as `apptainer sif list` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedObject {
    /// Its number.
    pub id: u32,
    /// The group that it is in.
    pub group: Option<u32>,
    /// What it is about.
    pub link: Option<Link>,
    /// Where it begins, in bytes.
    pub start: u64,
    /// Where it ends, in bytes.
    pub end: u64,
    /// What it is: `FS (Squashfs/*System/amd64)`.
    pub kind: String,
}

impl ListedObject {
    /// Reads the table; lines that are no rows of it are passed over.
    pub fn parse(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse_row).collect()
    }

    fn parse_row(row: &str) -> Option<Self> {
        let mut columns = row.splitn(5, '|').map(str::trim);
        let id = columns.next()?.parse().ok()?;
        let group = match columns.next()? {
            "NONE" => None,
            group => Some(group.parse().ok()?),
        };
        let link = match columns.next()? {
            "NONE" => None,
            link => Some(match link.strip_suffix("(G)") {
                Some(group) => Link::Group(group.trim().parse().ok()?),
                None => Link::Object(link.parse().ok()?),
            }),
        };
        let (start, end) = columns.next()?.split_once('-')?;
        Some(Self {
            id,
            group,
            link,
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            kind: columns.next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_from_the_frame() {
        let text = "\
------------------------------------------------------------------------------
ID   |GROUP   |LINK    |SIF POSITION (start-end)  |TYPE
------------------------------------------------------------------------------
4    |1       |NONE    |36864-1085440             |FS (Squashfs/*System/amd64)
5    |NONE    |1   (G) |1085440-1087304           |Signature (SHA-256)
6    |NONE    |4       |1087304-1087305           |Generic/Raw
";
        let rows = ListedObject::parse(text);
        assert_eq!(rows.len(), 3);
        assert_eq!((rows[0].id, rows[0].group), (4, Some(1)));
        assert_eq!((rows[0].start, rows[0].end), (36864, 1_085_440));
        assert_eq!(rows[0].kind, "FS (Squashfs/*System/amd64)");
        assert_eq!(rows[1].link, Some(Link::Group(1)));
        assert_eq!(rows[2].link, Some(Link::Object(4)));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = ListedObject::parse(&text);
        }
    }
}

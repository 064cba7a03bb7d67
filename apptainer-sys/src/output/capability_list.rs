//! `apptainer capability list`.

/// What somebody has been granted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The name of the user or group.
    pub owner: String,
    /// Which of the two it is.
    pub kind: OwnerKind,
    /// The capabilities: `CAP_NET_RAW`.
    pub capabilities: Vec<String>,
}

/// Who has been granted something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnerKind {
    /// A user.
    User,
    /// A group.
    Group,
}

impl Grant {
    /// Reads the lines; others are passed over.
    pub fn parse(text: &str) -> Vec<Self> {
        text.lines().filter_map(Self::parse_line).collect()
    }

    /// `alice [user]: CAP_NET_RAW,CAP_CHOWN`.
    fn parse_line(line: &str) -> Option<Self> {
        let (owner, capabilities) = line.split_once("]:")?;
        let (owner, kind) = owner.rsplit_once('[')?;
        let kind = match kind {
            "user" => OwnerKind::User,
            "group" => OwnerKind::Group,
            _ => return None,
        };
        let capabilities = capabilities.split(',').map(str::trim);
        Some(Self {
            owner: owner.trim().to_owned(),
            kind,
            capabilities: capabilities
                .filter(|capability| !capability.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_from_groups() {
        let text = "alice [user]: CAP_NET_RAW,CAP_CHOWN\nstaff [group]: CAP_SYS_PTRACE\nnoise\n";
        let grants = Grant::parse(text);
        assert_eq!(grants.len(), 2);
        assert_eq!(
            (grants[0].owner.as_str(), grants[0].kind),
            ("alice", OwnerKind::User)
        );
        assert_eq!(grants[0].capabilities, ["CAP_NET_RAW", "CAP_CHOWN"]);
        assert_eq!(grants[1].kind, OwnerKind::Group);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = Grant::parse(&text);
        }
    }
}

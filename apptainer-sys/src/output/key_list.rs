//! `apptainer key list`.

/// A key as `apptainer key list` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedKey {
    /// Its place in the keyring, from 0.
    pub index: u32,
    /// Its owner: `Alice (work) <alice@example.org>`.
    pub user: String,
    /// When it was made: `2026-11-23 17:01:05 +0000 UTC`.
    pub created: String,
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// Its length in bits.
    pub bits: u32,
}

impl ListedKey {
    /// Reads the list.
    pub fn parse(text: &str) -> Vec<Self> {
        let mut keys: Vec<Self> = Vec::new();
        for line in text.lines() {
            let (index, field) = match line.split_once(')') {
                Some((index, field)) if index.trim().parse::<u32>().is_ok() => {
                    (index.trim().parse().ok(), field)
                }
                _ => (None, line),
            };
            let Some((name, value)) = field.split_once(':') else {
                continue;
            };
            if let Some(index) = index {
                keys.push(Self {
                    index,
                    ..Self::default()
                });
            }
            let Some(key) = keys.last_mut() else {
                continue;
            };
            let value = value.trim();
            match name.trim() {
                "User" => value.clone_into(&mut key.user),
                "Creation time" => value.clone_into(&mut key.created),
                "Fingerprint" => value.clone_into(&mut key.fingerprint),
                "Length (in bits)" => key.bits = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_belong_to_the_key_above_them() {
        let text = "\
Public key listing (/home/alice/.apptainer/keys/pgp-public):

0)  User:              Alice (work: 1) <alice@example.org>
    Creation time:     2026-11-23 17:01:05 +0000 UTC
    Fingerprint:       85116E63
    Length (in bits):  4096

1)  User:              Bob <bob@example.org>
    Fingerprint:       43B95300
";
        let keys = ListedKey::parse(text);
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0].user, "Alice (work: 1) <alice@example.org>");
        assert_eq!(keys[0].created, "2026-11-23 17:01:05 +0000 UTC");
        assert_eq!((keys[0].bits, keys[1].bits), (4096, 0));
        assert_eq!(
            (keys[1].index, keys[1].fingerprint.as_str()),
            (1, "43B95300")
        );
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = ListedKey::parse(&text);
        }
    }
}

//! The key that callers need.

use std::fmt;
use std::fmt::Write as _;
use std::io::{self, Read as _};

use sha2::{Digest, Sha256};

/// The key that callers need. Not shown.
#[derive(Clone)]
pub(super) struct Key(String);

impl Key {
    /// A new one, of 256 random bits.
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    /// This one, if headers can carry it.
    pub(super) fn given(text: String) -> Option<Self> {
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        (!text.is_empty() && is_visible(&text)).then_some(Self(text))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Whether this is it, in a time that does not tell how much of it is.
    pub(super) fn is(&self, presented: &[u8]) -> bool {
        let (mine, other) = (Sha256::digest(&self.0), Sha256::digest(presented));
        let differ = mine.iter().zip(other.iter());
        differ.fold(0, |all, (one, two)| all | (one ^ two)) == 0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn only_the_same_is_it() {
        let key = Key::random().unwrap();
        assert_eq!(key.text().len(), 64);
        assert!(key.is(key.text().as_bytes()));
        assert!(!key.is(&key.text().as_bytes()[1..]));
        assert!(!key.is(b""));
        assert!(!Key::random().unwrap().is(key.text().as_bytes()));
        assert!(!format!("{key:?}").contains(key.text()));
    }

    #[test]
    fn what_no_header_carries_is_none() {
        assert!(Key::given("a b".into()).is_none());
        assert!(Key::given(String::new()).is_none());
        assert!(Key::given("abc".into()).is_some());
    }
}

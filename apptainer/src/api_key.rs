//! What lets callers of a server in.

use std::fmt;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The key of a server that answers as OpenHands' agent server does. Not shown.
#[derive(Clone)]
pub(crate) struct ApiKey(String);

impl ApiKey {
    /// The header that carries it.
    pub(crate) const HEADER: &str = "x-session-api-key";

    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// One that nobody can guess: 244 random bits, in hexadecimal digits.
    pub(crate) fn generate() -> Self {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        Self(format!("{}{}", one.simple(), other.simple()))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// Whether a header can carry it: whether it is visible ASCII, and not empty.
    pub(crate) fn fits_header(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether this is it, in a time that does not tell how much of it is.
    pub(crate) fn is(&self, presented: &[u8]) -> bool {
        let (mine, other) = (Sha256::digest(&self.0), Sha256::digest(presented));
        let differ = mine.iter().zip(other.iter());
        differ.fold(0, |all, (one, two)| all | (one ^ two)) == 0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn generated_ones_are_long_and_not_shown() {
        let key = ApiKey::generate();
        assert_eq!(key.text().len(), 64);
        assert!(key.text().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(!format!("{key:?}").contains(key.text()));
    }

    #[test]
    fn only_the_same_is_it() {
        let key = ApiKey::generate();
        assert!(key.is(key.text().as_bytes()));
        assert!(!key.is(&key.text().as_bytes()[1..]));
        assert!(!key.is(b""));
        assert!(!ApiKey::generate().is(key.text().as_bytes()));
    }

    #[test]
    fn headers_carry_visible_ascii() {
        for (text, fits) in [("abc", true), ("", false), ("a b", false), ("a\nb", false)] {
            assert_eq!(ApiKey::new(text).fits_header(), fits, "{text:?}");
        }
    }
}

//! What lets somebody in.

use std::fmt;

use uuid::Uuid;

/// A key of a server's, which is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ApiKey(String);

impl ApiKey {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// One that nobody can guess: 244 random bits, in hexadecimal digits.
    pub(super) fn generate() -> Self {
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
        Self(format!("{}{}", one.simple(), other.simple()))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_differ_and_are_not_shown() {
        let (one, other) = (ApiKey::generate(), ApiKey::generate());
        assert_eq!(one.expose().len(), 64);
        assert!(one.expose().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(one, other);
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}

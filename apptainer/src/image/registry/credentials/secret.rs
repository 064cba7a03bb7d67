//! What must not be seen.

use std::fmt;

use serde::Deserialize;

/// A password or a token. Shown to nobody: who needs it asks for it by name.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(in crate::image::registry) struct Secret(String);

impl Secret {
    /// The secret itself, for the registry.
    pub(in crate::image::registry) fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Credential;
    use super::*;

    #[test]
    fn nothing_of_it_is_shown() {
        let credential = Credential::Basic {
            username: "user".to_owned(),
            password: Secret::from("hunter2"),
        };
        let shown = format!(
            "{credential:?} {:#?}",
            Credential::IdentityToken("hunter2".into())
        );
        assert!(
            shown.contains("user") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}

//! Credentials in the environment.

use super::{Credential, CredentialError, key};
use crate::image::registry::environment::Environment;

/// Before `DOCKER_USERNAME` and `DOCKER_PASSWORD`, in the order in which Apptainer 1.4.5 was
/// seen to prefer them.
const PREFIXES: [&str; 3] = ["APPTAINER_", "", "SINGULARITY_"];

/// The user and password that are set for a registry. They count as pairs: Apptainer would
/// send the user of one with the password of another.
pub(super) fn login(
    environment: &Environment,
    registry: &str,
) -> Result<Option<Credential>, CredentialError> {
    for prefix in PREFIXES {
        let is_common = prefix.is_empty();
        if is_common && !key::is_docker_hub(registry) {
            continue;
        }
        let names = ["USERNAME", "PASSWORD"].map(|name| format!("{prefix}DOCKER_{name}"));
        let [username, password] = names.each_ref().map(|name| environment.get(name));
        let (set, missing) = match (username, password) {
            (Some(username), Some(password)) => {
                let [username_name, password_name] = names;
                let text = |value: std::ffi::OsString, name| {
                    let not_text = |_| CredentialError::VariableText { name };
                    value.into_string().map_err(not_text)
                };
                return Ok(Some(Credential::Basic {
                    username: text(username, username_name)?,
                    password: text(password, password_name)?.into(),
                }));
            }
            (Some(_), None) => (0, 1),
            (None, Some(_)) => (1, 0),
            (None, None) => continue,
        };
        // One of these alone may be there for something else.
        if !is_common {
            return Err(CredentialError::VariableMissing {
                set: names[set].clone(),
                missing: names[missing].clone(),
            });
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    const APPTAINER: [(&str, &str); 2] = [
        ("APPTAINER_DOCKER_USERNAME", "a"),
        ("APPTAINER_DOCKER_PASSWORD", "ap"),
    ];
    const COMMON: [(&str, &str); 2] = [("DOCKER_USERNAME", "d"), ("DOCKER_PASSWORD", "dp")];
    const SINGULARITY: [(&str, &str); 2] = [
        ("SINGULARITY_DOCKER_USERNAME", "s"),
        ("SINGULARITY_DOCKER_PASSWORD", "sp"),
    ];

    fn login_with(
        variables: &[(&'static str, &'static str)],
        registry: &str,
    ) -> Result<Option<String>, CredentialError> {
        let variables = variables.to_vec();
        let environment = Environment::new(move |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| value.into())
        });
        let found = login(&environment, registry)?;
        Ok(found.map(|credential| match credential {
            Credential::Basic { username, password } => format!("{username}:{}", password.expose()),
            other => panic!("{other:?}"),
        }))
    }

    #[test]
    fn pairs_are_preferred_as_apptainer_prefers_them() {
        let mut all = [APPTAINER, COMMON, SINGULARITY].concat();
        for expected in ["a:ap", "d:dp", "s:sp"] {
            let found = login_with(&all, "docker.io").unwrap();
            assert_eq!(found.as_deref(), Some(expected));
            all.drain(..2);
        }
        assert_eq!(login_with(&all, "docker.io").unwrap(), None);
    }

    #[test]
    fn what_has_no_prefix_goes_to_docker_hub_alone() {
        assert_eq!(login_with(&COMMON, "quay.io").unwrap(), None);
        for (pair, expected) in [(APPTAINER, "a:ap"), (SINGULARITY, "s:sp")] {
            let found = login_with(&[COMMON, pair].concat(), "quay.io").unwrap();
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    #[test]
    fn half_a_pair_is_told_unless_it_may_be_for_something_else() {
        for (set, missing) in [(0, 1), (1, 0)] {
            let error = login_with(&[APPTAINER[set]], "quay.io").unwrap_err();
            let message = error.to_string();
            assert!(message.contains(APPTAINER[missing].0), "{message}");
            assert_eq!(login_with(&[COMMON[set]], "docker.io").unwrap(), None);
        }
        let empty = [APPTAINER[0], ("APPTAINER_DOCKER_PASSWORD", "")];
        assert!(login_with(&empty, "docker.io").is_err());
    }

    #[test]
    fn a_password_that_is_not_text_is_told_and_not_shown() {
        let environment = Environment::of([
            ("APPTAINER_DOCKER_USERNAME", "user".as_ref()),
            (
                "APPTAINER_DOCKER_PASSWORD",
                OsStr::from_bytes(b"hunter2\xff"),
            ),
        ]);
        let error = login(&environment, "quay.io").unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("APPTAINER_DOCKER_PASSWORD"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

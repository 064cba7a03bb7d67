use std::fs;

use super::*;

fn file(json: &str) -> AuthFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    fs::write(&path, json).unwrap();
    AuthFile::read(path, Presence::Required).unwrap().unwrap()
}

fn login(entry: &str) -> Result<Option<Credential>, CredentialError> {
    file(&format!(r#"{{"auths":{{"example.org":{entry}}}}}"#)).login("example.org", "app")
}

fn basic(username: &str, password: &str) -> Credential {
    Credential::Basic {
        username: username.to_owned(),
        password: password.into(),
    }
}

#[test]
fn an_entry_has_a_login_or_a_token() {
    let token = |token: &str| Secret::from(token);
    // user:pass:word, which has NULs behind it in the second.
    for (entry, expected) in [
        (
            r#"{"auth":"dXNlcjpwYXNzOndvcmQ="}"#,
            Some(basic("user", "pass:word")),
        ),
        (
            r#"{"auth":"dXNlcjpwYXNzOndvcmQAAA=="}"#,
            Some(basic("user", "pass:word")),
        ),
        (
            r#"{"username":"user","password":"word"}"#,
            Some(basic("user", "word")),
        ),
        (
            r#"{"auth":"dXNlcjpwYXNzOndvcmQ=","username":"u","password":"p","email":"e"}"#,
            Some(basic("user", "pass:word")),
        ),
        (r#"{"auth":"dXNlcjo="}"#, Some(basic("user", ""))),
        (
            r#"{"auth":"dXNlcjo=","identitytoken":"one"}"#,
            Some(Credential::IdentityToken(token("one"))),
        ),
        (
            r#"{"identitytoken":"one","registrytoken":"two"}"#,
            Some(Credential::RegistryToken(token("two"))),
        ),
        ("{}", None),
        ("null", None),
        (r#"{"auth":"","identitytoken":null,"username":""}"#, None),
    ] {
        assert_eq!(login(entry).unwrap(), expected, "{entry}");
    }
}

#[test]
fn what_is_no_login_is_told_with_its_key_and_not_shown() {
    // hunter2 without a colon, and with nobody before it.
    for entry in [
        r#"{"auth":"aHVudGVyMg=="}"#,
        r#"{"auth":"Omh1bnRlcjI="}"#,
        r#"{"auth":"user:hunter2"}"#,
        r#"{"auth":"//8="}"#,
        r#"{"username":"user"}"#,
        r#"{"password":"hunter2"}"#,
    ] {
        let error = login(entry).unwrap_err();
        assert!(matches!(&error, CredentialError::Login { key, .. } if key == "example.org"));
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("config.json"), "{shown}");
        for secret in ["hunter2", "aHVudGVyMg", "Omh1bnRlcjI"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

#[test]
fn a_bad_entry_for_another_registry_is_no_obstacle() {
    let file = file(r#"{"auths":{"bad.example":{"auth":"?"},"example.org":{"auth":"YTpi"}}}"#);
    assert_eq!(
        file.login("example.org", "app").unwrap(),
        Some(basic("a", "b"))
    );
    assert_eq!(file.login("other.example", "app").unwrap(), None);
}

#[test]
fn an_empty_entry_does_not_hide_a_wider_one() {
    let file = file(r#"{"auths":{"quay.io/team":{},"quay.io":{"auth":"YTpi"}}}"#);
    assert_eq!(
        file.login("quay.io", "team/app").unwrap(),
        Some(basic("a", "b"))
    );
}

#[test]
fn json_of_another_form_is_told_by_its_place_and_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.json");
    for json in [
        r#"{"auths":{"example.org":"hunter2"}}"#,
        r#"{"auths":{"example.org":{"auth":["hunter2"]}}}"#,
        r#"{"auths":"hunter2"}"#,
        r#"{"auths":{"example.org":{"auth":"hunter2"#,
        r#""hunter2""#,
        "hunter2",
    ] {
        fs::write(&path, format!("\n\n{json}")).unwrap();
        let error = AuthFile::read(path.clone(), Presence::Optional).unwrap_err();
        assert!(
            matches!(&error, CredentialError::Json { line: 3, .. }),
            "{error}"
        );
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("config.json"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn what_else_docker_writes_and_what_is_missing_is_no_error() {
    for json in [
        "",
        " \n",
        "{}",
        r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
        r#"{"HttpHeaders":{"User-Agent":"x"},"credsStore":"","currentContext":"y"}"#,
    ] {
        let file = file(json);
        assert_eq!(file.login("example.org", "app").unwrap(), None, "{json}");
        assert_eq!(file.helper("example.org", "app"), None, "{json}");
    }
}

#[test]
fn only_a_file_that_was_named_must_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "{}").unwrap();
    for path in [directory.path().join("none"), file.join("below")] {
        assert!(
            AuthFile::read(path.clone(), Presence::Optional)
                .unwrap()
                .is_none()
        );
        let error = AuthFile::read(path.clone(), Presence::Required).unwrap_err();
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
    }
    // One that is there and is no file is told in any case.
    let error = AuthFile::read(directory.path().to_owned(), Presence::Optional).unwrap_err();
    assert!(matches!(error, CredentialError::File { .. }), "{error}");
}

#[test]
fn a_file_without_end_is_not_read_to_it() {
    let error = AuthFile::read("/dev/zero".into(), Presence::Required).unwrap_err();
    assert!(
        matches!(&error, CredentialError::File { source, .. } if source.kind() == io::ErrorKind::FileTooLarge),
        "{error}"
    );
}

#[test]
fn a_helper_is_asked_for_what_it_is_named_for() {
    let own = file(
        r#"{"credHelpers":{"example.org":"own","docker.io":"hub","plain.example":""},"credsStore":"common"}"#,
    );
    for (registry, expected) in [
        ("example.org", Some(("own", "example.org"))),
        ("docker.io", Some(("hub", "docker.io"))),
        ("other.example:5000", Some(("common", "other.example:5000"))),
        ("plain.example", None),
    ] {
        assert_eq!(own.helper(registry, "app"), expected);
    }
    let common = file(r#"{"credsStore":"common"}"#);
    assert_eq!(
        common.helper("docker.io", "library/alpine"),
        Some(("common", "https://index.docker.io/v1/"))
    );
}

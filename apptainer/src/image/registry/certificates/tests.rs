use std::os::unix::fs::PermissionsExt;

use super::*;

fn pem(label: &str, body: &str) -> String {
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// A directory with these files, and itself as the only place to look in.
fn sources(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let sources = Sources {
        authorities: Vec::new(),
        directories: vec![root.path().join("user"), root.path().join("system")],
    };
    (root, sources)
}

fn bytes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[tokio::test]
async fn authorities_are_those_of_the_registry_and_of_the_program() {
    let [a, b, c, other] = ["AAAA", "BBBB", "CCCC", "DDDD"].map(|body| pem("CERTIFICATE", body));
    let (root, mut sources) = sources(&[
        ("user/example.org:5000/z.crt", &b),
        ("user/example.org:5000/a.crt", &a),
        ("user/example.org:5000/notes.txt", "not a certificate"),
        ("system/example.org:5000/ca.crt", &c),
        ("system/example.org/ca.crt", &other),
        ("own.pem", &other),
    ]);
    let found = find(&sources, "example.org:5000").await.unwrap();
    assert_eq!(found.authorities, bytes(&[&a, &b, &c]));
    assert_eq!(found.identity, None);

    sources.authorities.push(root.path().join("own.pem"));
    let found = find(&sources, "elsewhere.example").await.unwrap();
    assert_eq!(found.authorities, bytes(&[&other]));
}

#[tokio::test]
async fn a_client_is_known_by_the_first_pair() {
    let certificate = |body| pem("CERTIFICATE", body);
    let key = |body| pem("PRIVATE KEY", body);
    let (_root, sources) = sources(&[
        ("user/example.org/b.cert", &certificate("BBBB")),
        ("user/example.org/b.key", &key("BBBB")),
        ("user/example.org/a.cert", &certificate("AAAA")),
        ("user/example.org/a.key", &key("aaaa")),
        ("system/example.org/0.cert", &certificate("CCCC")),
        ("system/example.org/0.key", &key("CCCC")),
    ]);
    let found = find(&sources, "example.org").await.unwrap();
    let expected = format!("{}\n{}", certificate("AAAA"), key("aaaa"));
    assert_eq!(found.identity.as_deref(), Some(expected.as_bytes()));
    let shown = format!("{found:?}");
    assert!(!shown.contains("97, 97"), "{shown}");
}

#[tokio::test]
async fn half_a_pair_is_told() {
    for (there, missing) in [("a.cert", "a.key"), ("a.key", "a.cert")] {
        let path = format!("system/example.org/{there}");
        let (_root, sources) = sources(&[(&path, &pem("CERTIFICATE", "AAAA"))]);
        let error = find(&sources, "example.org").await.unwrap_err();
        assert!(matches!(error, CertificateError::Missing { .. }), "{error}");
        assert!(error.to_string().contains(missing), "{error}");
        assert!(find(&sources, "example.com").await.is_ok());
    }
}

#[tokio::test]
async fn a_file_of_another_kind_is_told() {
    let (_root, der) = sources(&[("user/example.org/ca.crt", "\x30\x02")]);
    let error = find(&der, "example.org").await.unwrap_err();
    assert!(matches!(error, CertificateError::NoCertificate { .. }));
    assert!(error.to_string().contains("example.org/ca.crt"), "{error}");

    let encrypted = pem("ENCRYPTED PRIVATE KEY", "AAAA");
    let (_root, locked) = sources(&[
        ("user/example.org/a.cert", &pem("CERTIFICATE", "AAAA")),
        ("user/example.org/a.key", &encrypted),
    ]);
    let error = find(&locked, "example.org").await.unwrap_err();
    assert!(matches!(error, CertificateError::NoKey { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told() {
    let (root, mut sources) = sources(&[]);
    let broken = root.path().join("user/example.org/ca.crt");
    fs::create_dir_all(broken.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("nowhere", &broken).unwrap();
    let error = find(&sources, "example.org").await.unwrap_err();
    assert!(matches!(error, CertificateError::Unreadable { path, .. } if path == broken));

    let named = root.path().join("none.pem");
    sources.authorities.push(named.clone());
    let error = find(&sources, "example.com").await.unwrap_err();
    assert!(matches!(error, CertificateError::Unreadable { path, .. } if path == named));
}

#[tokio::test]
async fn a_directory_for_others_is_left_to_them() {
    let ca = pem("CERTIFICATE", "AAAA");
    let (root, sources) = sources(&[
        ("user/example.org/ca.crt", &ca),
        ("system/example.org/ca.crt", &ca),
    ]);
    let closed = root.path().join("system/example.org");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    // For root there is no such directory.
    let is_open_to_us = fs::read_dir(&closed).is_ok();
    let found = find(&sources, "example.org").await.unwrap();
    assert_eq!(found.authorities.len(), if is_open_to_us { 2 } else { 1 });
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn the_user_comes_before_the_system() {
    let environment = Environment::of([("HOME", "/home/user".as_ref())]);
    let expected = [
        "/home/user/.config/containers/certs.d",
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    ];
    assert_eq!(
        Sources::new(&environment).directories,
        expected.map(PathBuf::from)
    );
}

//! What the grammar takes, and what it does not.

use proptest::prelude::*;

use super::*;

const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn parsed(text: &str) -> OciReference {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> OciReferenceError {
    match text.parse::<OciReference>() {
        Ok(image) => panic!("{text} is {image}"),
        Err(error) => error,
    }
}

#[test]
fn short_names_are_spelt_out() {
    let table = [
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("alpine", "docker.io/library/alpine:latest"),
        ("a", "docker.io/library/a:latest"),
        ("bitnami/git", "docker.io/bitnami/git:latest"),
        ("a/b/c", "docker.io/a/b/c:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("docker.io/a/b:1", "docker.io/a/b:1"),
        ("ghcr.io/alpine", "ghcr.io/alpine:latest"),
        ("localhost/alpine", "localhost/alpine:latest"),
        ("localhost", "docker.io/library/localhost:latest"),
        ("Server/alpine", "Server/alpine:latest"),
        ("server/alpine", "docker.io/server/alpine:latest"),
        ("server:5000/alpine", "server:5000/alpine:latest"),
        ("server:5000", "docker.io/library/server:5000"),
        ("127.0.0.1:5000/a/b:c", "127.0.0.1:5000/a/b:c"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("[2001:db8::1]/a", "[2001:db8::1]/a:latest"),
        ("xn--n3h.com/my-app", "xn--n3h.com/my-app:latest"),
        ("a/b.c_d__e---f", "docker.io/a/b.c_d__e---f:latest"),
        ("a:_A.b-C_", "docker.io/library/a:_A.b-C_"),
    ];
    for (text, canonical) in table {
        assert_eq!(parsed(text).to_string(), canonical, "{text}");
    }
}

#[test]
fn parts_are_told_apart() {
    let image = parsed(&format!("ghcr.io:443/a/b:1.2@{SHA256}"));
    assert_eq!(image.registry(), "ghcr.io:443");
    assert_eq!(image.repository(), "a/b");
    assert_eq!(image.tag(), Some("1.2"));
    assert_eq!(image.digest(), Some(SHA256));
    let image = parsed(&format!("alpine@{SHA256}"));
    assert_eq!(image.tag(), None, "a digest needs no tag");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let image = parsed(&format!("alpine@{sha512}"));
    assert_eq!(image.digest(), Some(&sha512[..]));
}

#[test]
fn what_is_no_registry_is_refused() {
    for registry in [
        "a..b",
        ".a",
        "a.",
        "-a.b",
        "a-.b",
        "foo_bar.io",
        "a.b:",
        "a.b:x",
        "a.b:+1",
        "a.b:65536",
        "a.b:1:2",
        ":1",
        "[::1",
        "[::1]x",
        "[:::]",
        "[::1%eth0]:1",
        "[::ffff:1.2.3.4]",
        "[]:1",
        "É.b",
    ] {
        let error = refused(&format!("{registry}/name"));
        let registry = registry.to_owned();
        assert_eq!(error, OciReferenceError::Registry { registry });
    }
}

#[test]
fn what_is_no_repository_is_refused() {
    for repository in [
        "", "/a", "a/", "a//b", "a-", "-a", "a..b", "a___b", "a._b", "a b", "a?b", "a#b", "é",
    ] {
        let error = refused(&format!("host.io/{repository}"));
        let repository = repository.to_owned();
        assert_eq!(error, OciReferenceError::Repository { repository });
    }
    let error = refused("host.io/Some/Name:1");
    assert_eq!(
        error.to_string(),
        "repository names are lower case; write \"some/name\""
    );
    assert_eq!(refused(&"0".repeat(64)), OciReferenceError::ImageId);
    parsed(&"0".repeat(63));
}

#[test]
fn what_is_no_tag_or_digest_is_refused() {
    for tag in ["", "-1", ".1", "a:b", "a/b", "a b", "é", &"a".repeat(129)] {
        let error = refused(&format!("host.io/name:{tag}"));
        let tag = tag.to_owned();
        assert_eq!(error, OciReferenceError::Tag { tag });
    }
    parsed(&format!("name:{}", "a".repeat(128)));
    for digest in [
        "",
        "sha256:",
        "sha256:abc",
        "abc",
        &SHA256.to_uppercase(),
        &SHA256.replace('e', "E"),
        &SHA256.replace("256", "512"),
        &format!("{SHA256}0"),
        &format!("{SHA256}@{SHA256}"),
        &format!("md5:{}", "0".repeat(32)),
    ] {
        let error = refused(&format!("host.io/name@{digest}"));
        let digest = digest.to_owned();
        assert_eq!(error, OciReferenceError::Digest { digest });
    }
}

#[test]
fn a_name_may_have_255_characters_in_all() {
    let room = OciReference::LONGEST_NAME - "docker.io/library/".len();
    parsed(&"a".repeat(room));
    let error = refused(&"a".repeat(room + 1));
    assert_eq!(error, OciReferenceError::NameTooLong { length: 256 });
}

#[test]
fn apptainer_is_told_what_it_understands() {
    let table = [
        ("alpine:3", "docker.io/library/alpine:3"),
        ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        ("localhost/a", "localhost:443/a:latest"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("Server/a", "Server:443/a:latest"),
        ("[::1]/a", "[::1]/a:latest"),
    ];
    for (text, word) in table {
        assert_eq!(parsed(text).to_word(false), word);
    }
    assert_eq!(parsed("localhost/a").to_word(true), "localhost:80/a:latest");
    let both = parsed(&format!("ghcr.io/a/b:1@{SHA256}"));
    assert_eq!(both.to_word(false), format!("ghcr.io/a/b@{SHA256}"));
}

#[test]
fn a_tag_beside_a_digest_names_no_other_image() {
    let [one, two] = ["1", "2"].map(|tag| parsed(&format!("ghcr.io/a/b:{tag}@{SHA256}")));
    assert_eq!(one.identity(), two.identity());
    assert_ne!(one, two);
}

prop_compose! {
    fn name()(
        registry in proptest::option::of(
            "(localhost|[A-Z][a-z]{1,5}|[a-z0-9]{1,8}(-[a-z0-9]{1,4})?\\.[A-Za-z]{2,5}|\\[::[a-f0-9]{1,4}\\])(:[1-9][0-9]{0,3})?/"
        ),
        repository in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}){0,3}",
        tag in proptest::option::of(":[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
        digest in proptest::option::of("@(sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})"),
    ) -> (String, Option<String>, Option<String>) {
        let name = registry.unwrap_or_default() + &repository;
        (name, tag, digest)
    }
}

proptest! {
    #[test]
    fn what_is_displayed_is_read_as_the_same((name, tag, digest) in name()) {
        let text = name + tag.as_deref().unwrap_or_default() + digest.as_deref().unwrap_or_default();
        // A first part with a dot is a host, and hosts are told by other rules.
        let Ok(image) = text.parse::<OciReference>() else {
            let first = text.split('/').next().unwrap_or_default();
            prop_assert!(text.contains('/') && first.contains('.'), "{}", text);
            return Ok(());
        };
        prop_assert_eq!(image.to_string().parse(), Ok(image.clone()));
        let expected = if tag.is_none() && digest.is_none() { Some(":latest") } else { tag.as_deref() };
        prop_assert_eq!(image.tag(), expected.map(|tag| &tag[1..]));
        prop_assert_eq!(image.digest(), digest.as_deref().map(|digest| &digest[1..]));
    }

    #[test]
    fn apptainer_is_told_of_the_same_image((name, tag, digest) in name(), no_https: bool) {
        let text = name + tag.as_deref().unwrap_or_default() + digest.as_deref().unwrap_or_default();
        let Ok(image) = text.parse::<OciReference>() else { return Ok(()) };
        let told: OciReference = image.to_word(no_https).parse().unwrap();
        prop_assert_eq!(told.repository(), image.repository());
        prop_assert_eq!(told.digest(), image.digest());
        prop_assert!(told.registry().starts_with(image.registry()));
        prop_assert!(told.tag() == image.tag() || image.digest().is_some());
    }

    #[test]
    fn no_text_is_too_strange(text in prop_oneof![any::<String>(), "[aZ0é:/@._\\[\\]-]{0,40}"]) {
        if let Ok(image) = text.parse::<OciReference>() {
            prop_assert_eq!(image.to_string().parse(), Ok(image));
        }
    }
}

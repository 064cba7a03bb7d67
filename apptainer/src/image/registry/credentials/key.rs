//! What credentials are kept under: registries, and namespaces in them.

use std::collections::BTreeMap;

/// What Docker calls Docker Hub, and has asked helpers for since its first version.
pub(in crate::image::registry) const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Whether a registry is Docker Hub, by any of its names.
pub(super) fn is_docker_hub(registry: &str) -> bool {
    matches!(
        registry,
        "docker.io" | "index.docker.io" | "registry-1.docker.io"
    )
}

/// The entry whose key covers a repository and says the most of it, as [containers-auth.json]
/// has it: `quay.io/team/app` before `quay.io/team` before `quay.io`. Of two that say as much
/// the one that is written as the registry is.
///
/// A key that is a URL is one of Docker's, to which only the host in it counts; so is one
/// with the path of the registry's interface, `v1` or `v2`.
///
/// [containers-auth.json]: https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
pub(super) fn closest<'a, V>(
    entries: &'a BTreeMap<String, V>,
    registry: &str,
    repository: &str,
) -> Option<(&'a str, &'a V)> {
    let ranked = entries.iter().filter_map(|(key, value)| {
        let rank = rank(key, registry, repository)?;
        Some((rank, key.as_str(), value))
    });
    let (_, key, value) = ranked.max_by_key(|(rank, ..)| *rank)?;
    Some((key, value))
}

/// How much a key says of a repository, if it covers it: the length of its namespace, and
/// whether it is written as the registry is.
fn rank(key: &str, registry: &str, repository: &str) -> Option<(usize, bool)> {
    let (host, namespace) = split(key);
    let is_same = host == registry || is_docker_hub(host) && is_docker_hub(registry);
    let is_within = match repository.strip_prefix(namespace) {
        Some(rest) => namespace.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    };
    (is_same && is_within).then(|| (namespace.len(), key.starts_with(registry)))
}

/// The registry in a key, and the namespace.
fn split(key: &str) -> (&str, &str) {
    let address = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| key.strip_prefix(scheme));
    let (host, path) = split_path(address.unwrap_or(key));
    if address.is_some() || matches!(path, "v1" | "v2") {
        return (host, "");
    }
    (host, path)
}

fn split_path(address: &str) -> (&str, &str) {
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    (host, path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closest_of<'a>(keys: &[&'a str], registry: &str, repository: &str) -> Option<&'a str> {
        let entries: BTreeMap<_, _> = keys.iter().map(|key| ((*key).to_owned(), *key)).collect();
        closest(&entries, registry, repository).map(|(_, key)| *key)
    }

    #[test]
    fn the_longest_namespace_wins_and_only_whole_parts_count() {
        let keys = ["quay.io", "quay.io/team", "quay.io/team/app", "quay.io/te"];
        for (repository, expected) in [
            ("team/app", "quay.io/team/app"),
            ("team/app/part", "quay.io/team/app"),
            ("team/apple", "quay.io/team"),
            ("team", "quay.io/team"),
            ("teams/app", "quay.io"),
        ] {
            let found = closest_of(&keys, "quay.io", repository);
            assert_eq!(found, Some(expected), "{repository}");
        }
        assert_eq!(closest_of(&keys[1..], "quay.io", "other"), None);
    }

    #[test]
    fn a_host_is_the_same_only_with_the_same_port() {
        let keys = [
            "example.org:5000",
            "example.org.evil.example",
            "xexample.org",
        ];
        assert_eq!(closest_of(&keys, "example.org", "a"), None);
        assert_eq!(
            closest_of(&keys, "example.org:5000", "a"),
            Some("example.org:5000")
        );
    }

    #[test]
    fn of_a_url_the_host_counts() {
        for key in [
            "https://example.org:5000",
            "https://example.org:5000/",
            "http://example.org:5000/v2/",
            "https://example.org:5000/some/path",
            "example.org:5000/v1/",
            "example.org:5000/",
        ] {
            assert_eq!(closest_of(&[key], "example.org:5000", "a"), Some(key));
            assert_eq!(closest_of(&[key], "example.org", "a"), None, "{key}");
        }
    }

    #[test]
    fn docker_hub_has_many_names() {
        let names = ["docker.io", "index.docker.io", "registry-1.docker.io"];
        for name in names {
            for key in names.into_iter().chain([DOCKER_HUB]) {
                let found = closest_of(&[key], name, "library/alpine");
                assert_eq!(found, Some(key), "{name}");
            }
        }
        let keys = ["docker.io/library", DOCKER_HUB];
        let find = |repository| closest_of(&keys, "docker.io", repository);
        assert_eq!(find("library/alpine"), Some("docker.io/library"));
        assert_eq!(find("user/app"), Some(DOCKER_HUB));
    }

    #[test]
    fn of_equals_the_one_written_alike_wins() {
        let keys = [
            "https://quay.io",
            "quay.io",
            "quay.io/v2/",
            DOCKER_HUB,
            "docker.io",
        ];
        assert!(
            closest_of(&keys, "quay.io", "a")
                .unwrap()
                .starts_with("quay.io")
        );
        assert_eq!(closest_of(&keys, "docker.io", "a"), Some("docker.io"));
    }
}

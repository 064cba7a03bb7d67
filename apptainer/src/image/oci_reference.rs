//! What images in OCI registries are called.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The name of an image in an OCI registry: `docker.io/library/python:3.12-slim`.
///
/// It is read as Docker reads it, by the grammar of the [distribution project's
/// `reference` package][grammar]: what comes before the first `/` is a registry if it
/// has a `.`, a `:` or an upper-case letter, or is `localhost`. Otherwise the image is
/// on Docker Hub, in `library` if its name has one part. With neither tag nor digest its
/// tag is `latest`. `index.docker.io` is `docker.io`.
///
/// Hosts are compared as they are written: `example.org`, `EXAMPLE.ORG` and
/// `example.org:443` are three.
///
/// What an image can be called is not always what Apptainer can fetch. Version 1.4
/// fetches none whose repository is a single character, none by SHA-512, and by
/// `docker://` none from an IPv6 address.
///
/// ```
/// # use apptainer::image::OciReference;
/// let image: OciReference = "python:3.12-slim".parse()?;
/// assert_eq!(image.registry(), "docker.io");
/// assert_eq!(image.repository(), "library/python");
/// assert_eq!(image.tag(), Some("3.12-slim"));
/// assert_eq!(image.digest(), None);
/// # Ok::<(), apptainer::image::OciReferenceError>(())
/// ```
///
/// [grammar]: https://github.com/distribution/reference/blob/v0.6.0/reference.go
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OciReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Text that names no image in an OCI registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OciReferenceError {
    /// The registry is not a host, with a port or without.
    #[error(
        "{registry:?} is no registry; write host, host:port or [ipv6]:port, with letters, digits, '-' and '.' in the host"
    )]
    Registry {
        /// What stands in its place.
        registry: String,
    },
    /// The repository has upper-case letters.
    #[error("repository names are lower case; write {:?}", .repository.to_ascii_lowercase())]
    UpperCase {
        /// The repository.
        repository: String,
    },
    /// The repository is empty, or has characters where they may not be.
    #[error(
        "{repository:?} is no repository; write parts of lower-case letters and digits, with '.', '_', '__' or dashes between these, and '/' between parts"
    )]
    Repository {
        /// What stands in its place.
        repository: String,
    },
    /// Registry and repository are too long together.
    #[error(
        "the name has {length} characters; registry and repository may have {} together",
        OciReference::LONGEST_NAME
    )]
    NameTooLong {
        /// How long they are.
        length: usize,
    },
    /// The tag is empty, too long, or has characters where they may not be.
    #[error(
        "{tag:?} is no tag; write up to {} letters, digits, '_', '.' and '-', with neither '.' nor '-' first",
        OciReference::LONGEST_TAG
    )]
    Tag {
        /// What stands in its place.
        tag: String,
    },
    /// The digest is not one of SHA-256 or SHA-512.
    #[error(
        "{digest:?} is no digest; write sha256: and 64 hexadecimal digits, or sha512: and 128, in lower case"
    )]
    Digest {
        /// What stands in its place.
        digest: String,
    },
    /// It is 64 hexadecimal digits, which is how Docker numbers images.
    #[error("it is the id of an image, which no registry knows; write a repository's name")]
    ImageId,
}

impl OciReference {
    pub(super) const DOCKER_HUB: &str = "docker.io";

    /// Of registry and repository together, as Apptainer counts; the distribution
    /// project has come to count the repository alone.
    const LONGEST_NAME: usize = 255;

    const LONGEST_TAG: usize = 128;

    /// The registry: a host, and its port if one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag. Beside a digest it only tells people where that came from.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest of the manifest: `sha256:` or `sha512:`, and hexadecimal digits.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What decides which image it is: the digest alone, if there is one.
    pub(super) fn identity(&self) -> String {
        self.at(&self.registry)
    }

    /// The words for Apptainer, which takes no tag beside a digest.
    ///
    /// Where a host has neither dot nor port, Apptainer 1.4 fetches from Docker Hub
    /// what it asked `localhost` about, for it has two parsers. Both understand a port.
    pub(super) fn to_word(&self, no_https: bool) -> String {
        if self.registry.contains(['.', ':']) {
            return self.identity();
        }
        let port = if no_https { 80 } else { 443 };
        self.at(&format!("{}:{port}", self.registry))
    }

    /// The same as a path, for a directory: Apptainer takes colons for something else.
    pub(super) fn to_path(&self) -> String {
        self.identity().replace([':', '@', '[', ']'], "_")
    }

    fn at(&self, registry: &str) -> String {
        let repository = &self.repository;
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{registry}/{repository}@{digest}"),
            (None, Some(tag)) => format!("{registry}/{repository}:{tag}"),
            (None, None) => format!("{registry}/{repository}"),
        }
    }
}

impl FromStr for OciReference {
    type Err = OciReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_hex(text, 64) {
            return Err(OciReferenceError::ImageId);
        }
        let (text, digest) = split_off(text, '@');
        let (registry, text) = split_registry(text);
        let (repository, tag) = split_off(text, ':');
        check_registry(registry)?;
        check_repository(repository)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if let Some(digest) = digest {
            check_digest(digest)?;
        }
        let is_bare = tag.is_none() && digest.is_none();
        let is_official = registry == Self::DOCKER_HUB && !repository.contains('/');
        let namespace = if is_official { "library/" } else { "" };
        let image = Self {
            registry: registry.to_owned(),
            repository: format!("{namespace}{repository}"),
            tag: tag.or(is_bare.then_some("latest")).map(str::to_owned),
            digest: digest.map(str::to_owned),
        };
        let length = image.registry.len() + "/".len() + image.repository.len();
        if length > Self::LONGEST_NAME {
            return Err(OciReferenceError::NameTooLong { length });
        }
        Ok(image)
    }
}

impl fmt::Display for OciReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

fn split_off(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// The registry, and what follows it.
fn split_registry(text: &str) -> (&str, &str) {
    let is_registry = |part: &str| {
        part == "localhost"
            || part.contains(['.', ':'])
            || part.contains(|letter: char| letter.is_ascii_uppercase())
    };
    match text.split_once('/') {
        Some(("index.docker.io", rest)) => (OciReference::DOCKER_HUB, rest),
        Some((part, rest)) if is_registry(part) => (part, rest),
        _ => (OciReference::DOCKER_HUB, text),
    }
}

fn check_registry(registry: &str) -> Result<(), OciReferenceError> {
    let (is_host, after) = if let Some(address) = registry.strip_prefix('[') {
        let (address, after) = split_off(address, ']');
        // The grammar leaves out addresses that end as version 4 is written.
        let is_address = !address.contains('.') && address.parse::<Ipv6Addr>().is_ok();
        (is_address && after.is_some(), after.unwrap_or_default())
    } else {
        let host = registry.find(':').unwrap_or(registry.len());
        let (host, after) = registry.split_at(host);
        (host.split('.').all(is_host_label), after)
    };
    if is_host && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port)) {
        return Ok(());
    }
    let registry = registry.to_owned();
    Err(OciReferenceError::Registry { registry })
}

fn is_host_label(label: &str) -> bool {
    let is_end = |letter: char| letter.is_ascii_alphanumeric();
    let is_inner = |letter: char| is_end(letter) || letter == '-';
    label.starts_with(is_end) && label.ends_with(is_end) && label.chars().all(is_inner)
}

fn is_port(port: &str) -> bool {
    // A number alone could have a sign.
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn check_repository(repository: &str) -> Result<(), OciReferenceError> {
    let is_repository = |text: &str| text.split('/').all(is_repository_part);
    if is_repository(repository) {
        return Ok(());
    }
    let found = repository.to_owned();
    if is_repository(&repository.to_ascii_lowercase()) {
        return Err(OciReferenceError::UpperCase { repository: found });
    }
    Err(OciReferenceError::Repository { repository: found })
}

fn is_repository_part(part: &str) -> bool {
    let is_atom = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let is_separator = |between: &str| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
    };
    part.starts_with(is_atom) && part.ends_with(is_atom) && part.split(is_atom).all(is_separator)
}

fn check_tag(tag: &str) -> Result<(), OciReferenceError> {
    let is_first = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_later = |letter: char| is_first(letter) || letter == '.' || letter == '-';
    if tag.len() <= OciReference::LONGEST_TAG
        && tag.starts_with(is_first)
        && tag.chars().all(is_later)
    {
        return Ok(());
    }
    let tag = tag.to_owned();
    Err(OciReferenceError::Tag { tag })
}

pub(super) fn check_digest(digest: &str) -> Result<(), OciReferenceError> {
    let is_digest = match digest.split_once(':') {
        Some(("sha256", hex)) => is_hex(hex, 64),
        Some(("sha512", hex)) => is_hex(hex, 128),
        _ => false,
    };
    if is_digest {
        return Ok(());
    }
    let digest = digest.to_owned();
    Err(OciReferenceError::Digest { digest })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;

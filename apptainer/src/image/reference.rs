//! What images are called.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::digest::Hash;
use super::redact::redacted;
use super::{OciReference, OciReferenceError};

/// The name of an image: a URI, or a path.
///
/// What names an image in a registry is kept spelt out: `docker://alpine` and
/// `docker://docker.io/library/alpine:latest` are equal, and displayed as the latter.
/// Everything else is kept as it was written. What lets somebody in is not displayed: a user and
/// password in a URL, and the values of its query.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Oci { scheme: Scheme, image: OciReference },
    Uri { scheme: Scheme, rest: OsString },
    Path(PathBuf),
}

/// Where a URI points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `docker://`: an image in an OCI registry.
    Docker,
    /// `oras://`: a SIF file in an OCI registry.
    Oras,
    /// `library://`: a SIF file in a library.
    Library,
    /// `shub://`: an image in a Singularity Hub.
    Shub,
    /// `http://`: a SIF file.
    Http,
    /// `https://`: a SIF file.
    Https,
    /// `docker-archive:`: a file that `docker save` wrote.
    DockerArchive,
    /// `oci:`: a directory in the OCI image layout, of one image: Apptainer 1.4
    /// takes what follows the directory for a part of its name, not for a tag.
    Oci,
    /// `oci-archive:`: such a directory as a tar file.
    OciArchive,
}

/// Text that names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is nothing.
    #[error("read an image reference: it is empty")]
    Empty,
    /// The scheme is not one for images.
    #[error("read the image reference {text:?}: {scheme} names no kind of image known here")]
    UnknownScheme {
        /// The text.
        text: String,
        /// The scheme.
        scheme: String,
    },
    /// Images of a Docker daemon.
    #[error(
        "read the image reference {text:?}: it needs a Docker daemon; push the image to a registry, \
         or save it with `docker save` and use docker-archive:"
    )]
    DockerDaemon {
        /// The text.
        text: String,
    },
    /// It names no image in an OCI registry, as `docker://` and `oras://` do.
    #[error("read the image reference {text:?}: {source}")]
    Oci {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: OciReferenceError,
    },
    /// Nothing stands behind the scheme.
    #[error("read the image reference {text:?}: nothing follows the scheme")]
    NoName {
        /// The text.
        text: String,
    },
}

impl Scheme {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Docker, "docker://"),
        (Self::Oras, "oras://"),
        (Self::Library, "library://"),
        (Self::Shub, "shub://"),
        (Self::Http, "http://"),
        (Self::Https, "https://"),
        (Self::DockerArchive, "docker-archive:"),
        (Self::Oci, "oci:"),
        (Self::OciArchive, "oci-archive:"),
    ];

    fn prefix(self) -> &'static str {
        let found = Self::ALL.into_iter().find(|(scheme, _)| *scheme == self);
        found.map_or("", |(_, prefix)| prefix)
    }

    /// Whether what follows is an image in an OCI registry.
    fn is_oci(self) -> bool {
        matches!(self, Self::Docker | Self::Oras)
    }

    /// Whether what follows is a path on this machine.
    pub(super) fn is_local(self) -> bool {
        matches!(self, Self::DockerArchive | Self::Oci | Self::OciArchive)
    }
}

impl Reference {
    /// Reads a reference. What has no scheme is a path.
    pub fn parse(text: impl AsRef<OsStr>) -> Result<Self, ReferenceError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let shown = || redacted(&text.to_string_lossy());
        for (scheme, prefix) in Scheme::ALL {
            let Some(rest) = text.as_bytes().strip_prefix(prefix.as_bytes()) else {
                continue;
            };
            if rest.is_empty() {
                return Err(ReferenceError::NoName { text: shown() });
            }
            let kind = if scheme.is_oci() {
                // What is not UTF-8 becomes a character that is in no name.
                let image = String::from_utf8_lossy(rest).parse();
                let failed = |source| ReferenceError::Oci {
                    text: shown(),
                    source,
                };
                let image = image.map_err(failed)?;
                Kind::Oci { scheme, image }
            } else {
                let rest = OsStr::from_bytes(rest).to_owned();
                Kind::Uri { scheme, rest }
            };
            return Ok(Self { kind });
        }
        if text.as_bytes().starts_with(b"docker-daemon:") {
            return Err(ReferenceError::DockerDaemon { text: shown() });
        }
        if let Some(scheme) = foreign_scheme(text) {
            return Err(ReferenceError::UnknownScheme {
                text: shown(),
                scheme,
            });
        }
        Ok(Self::path(text))
    }

    /// The image at a path: a SIF file or a sandbox directory.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self {
            kind: Kind::Path(path.into()),
        }
    }

    /// The path, if it is one and not a URI.
    pub fn as_path(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Path(path) => Some(path),
            Kind::Oci { .. } | Kind::Uri { .. } => None,
        }
    }

    /// The scheme, if it is a URI.
    pub fn scheme(&self) -> Option<Scheme> {
        match &self.kind {
            Kind::Oci { scheme, .. } | Kind::Uri { scheme, .. } => Some(*scheme),
            Kind::Path(_) => None,
        }
    }

    /// The image in its registry, if it is a `docker://` or `oras://` reference.
    pub fn oci(&self) -> Option<&OciReference> {
        match &self.kind {
            Kind::Oci { image, .. } => Some(image),
            Kind::Uri { .. } | Kind::Path(_) => None,
        }
    }

    /// The registry of a `docker://` or `oras://` reference: `docker.io` if it names none.
    pub fn registry(&self) -> Option<&str> {
        self.oci().map(OciReference::registry)
    }

    /// Whether what it points at is on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.scheme().is_none_or(Scheme::is_local)
    }

    /// The file of this machine that changes when what a URI points at does.
    pub(super) fn local_source(&self) -> Option<PathBuf> {
        let Kind::Uri { scheme, rest } = &self.kind else {
            return None;
        };
        if !scheme.is_local() {
            return None;
        }
        let mut path = PathBuf::from(rest);
        if !path.exists() {
            // A tag may follow: `docker-archive:file:tag`.
            let untagged = rest.as_bytes().split(|byte| *byte == b':').next()?;
            path = OsStr::from_bytes(untagged).into();
        }
        if *scheme == Scheme::Oci {
            path.push("index.json");
        }
        Some(path)
    }
}

/// The scheme of a text that has one, but not one of ours.
fn foreign_scheme(text: &OsStr) -> Option<String> {
    let text = text.to_str()?;
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let looks_so = !scheme.is_empty() && scheme.bytes().all(is_scheme);
    looks_so.then(|| format!("{scheme}://"))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Oci { scheme, image } => write!(f, "{}{image}", scheme.prefix()),
            Kind::Uri { scheme, rest } if scheme.is_local() => {
                write!(f, "{}{}", scheme.prefix(), rest.display())
            }
            Kind::Uri { .. } => f.write_str(&redacted(&self.url())),
            Kind::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reference").field(&self.to_string()).finish()
    }
}

impl Reference {
    /// As it was written, with what lets somebody in: for who is asked, and nobody else.
    pub(super) fn url(&self) -> String {
        self.to_word(false).to_string_lossy().into_owned()
    }

    /// What may be kept of a URL, and is another for each.
    pub(super) fn fingerprint(&self) -> String {
        let (url, shown) = (self.url(), self.to_string());
        if url == shown {
            return shown;
        }
        format!("{shown} {}", Hash::of(None, url.as_bytes()))
    }

    /// What decides which image it is: the same for references that cannot differ.
    pub(super) fn identity(&self) -> OsString {
        self.word(OciReference::identity)
    }

    /// The words for Apptainer, which is told to speak HTTP to the registry or not.
    pub(super) fn to_word(&self, no_https: bool) -> OsString {
        self.word(|image| image.to_word(no_https))
    }

    /// The words for an Apptainer that runs in another directory, for what is on this machine.
    pub(super) fn to_absolute(&self) -> io::Result<OsString> {
        let Kind::Uri { scheme, rest } = &self.kind else {
            return Ok(self.to_word(false));
        };
        let mut word = OsString::from(scheme.prefix());
        // A tag that follows is to the system a part of the name.
        word.push(std::path::absolute(rest)?);
        Ok(word)
    }

    fn word(&self, oci: impl FnOnce(&OciReference) -> String) -> OsString {
        let of_uri = |scheme: Scheme, rest: &OsStr| {
            let mut word = OsString::from(scheme.prefix());
            word.push(rest);
            word
        };
        match &self.kind {
            Kind::Oci { scheme, image } => of_uri(*scheme, oci(image).as_ref()),
            Kind::Uri { scheme, rest } => of_uri(*scheme, rest),
            Kind::Path(path) => path.as_os_str().to_owned(),
        }
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    #[test]
    fn schemes_are_told_from_paths() {
        for (scheme, prefix) in Scheme::ALL {
            let text = format!("{prefix}host.io/name:tag");
            let reference = Reference::parse(&text).unwrap();
            assert_eq!(reference.scheme(), Some(scheme));
            assert_eq!(reference.to_string(), text);
        }
        for path in ["image.sif", "./docker", "/a:b/c", "../x"] {
            let reference = Reference::parse(path).unwrap();
            assert_eq!(reference.as_path(), Some(Path::new(path)));
        }
    }

    #[test]
    fn what_names_no_image_is_refused() {
        assert_eq!(Reference::parse(""), Err(ReferenceError::Empty));
        let refused = |text: &str| Reference::parse(text).unwrap_err();
        assert!(matches!(
            refused("docker://"),
            ReferenceError::NoName { .. }
        ));
        assert!(matches!(
            refused("instance://a"),
            ReferenceError::UnknownScheme { .. }
        ));
        assert!(matches!(
            refused("ftp://a/b"),
            ReferenceError::UnknownScheme { .. }
        ));
        assert!(matches!(
            refused("docker-daemon:a"),
            ReferenceError::DockerDaemon { .. }
        ));
    }

    #[test]
    fn one_image_has_one_name() {
        let canonical = Reference::parse("docker://docker.io/library/alpine:latest").unwrap();
        for text in [
            "docker://alpine",
            "docker://alpine:latest",
            "docker://library/alpine",
            "docker://index.docker.io/alpine",
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference, canonical);
            assert_eq!(reference.to_string(), canonical.to_string());
            assert_eq!(reference.to_word(false), canonical.to_string().as_str());
        }
        assert_ne!(Reference::parse("oras://alpine").unwrap(), canonical);
    }

    #[test]
    fn a_registry_is_known_where_there_is_one() {
        let registry = |text: &str| {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.registry().is_some(), reference.oci().is_some());
            reference.registry().map(str::to_owned)
        };
        let table = [
            ("docker://127.0.0.1:5000/a", Some("127.0.0.1:5000")),
            ("oras://ghcr.io/a/b:1", Some("ghcr.io")),
            ("docker://library/debian", Some("docker.io")),
            ("oci-archive:/a.b/c", None),
            ("library://a.b/c/d", None),
            ("a.b/c", None),
        ];
        for (text, expected) in table {
            assert_eq!(registry(text).as_deref(), expected);
        }
    }

    #[test]
    fn an_error_says_what_was_read_and_what_to_write() {
        let error = Reference::parse("docker://host.io/Name").unwrap_err();
        assert_eq!(
            error.to_string(),
            "read the image reference \"docker://host.io/Name\": \
             repository names are lower case; write \"name\""
        );
        let text = OsStr::from_bytes(b"docker://na\xffme");
        assert!(matches!(
            Reference::parse(text),
            Err(ReferenceError::Oci { .. })
        ));
    }

    #[test]
    fn what_lets_somebody_in_is_kept_to_oneself() {
        let parse = |text: &str| Reference::parse(text).unwrap();
        let [one, other] = ["one", "other"].map(|word| {
            let text = format!("https://user:{word}@a.b/c.sif?sig={word}");
            let reference = parse(&text);
            let kept = reference.fingerprint();
            let shown = format!("{reference} {reference:?} {kept}");
            assert!(!shown.contains(word), "{shown}");
            assert_eq!(reference.url(), text);
            kept
        });
        assert_ne!(one, other);
        let plain = parse("https://a.b/c.sif");
        assert_eq!(plain.fingerprint(), "https://a.b/c.sif");
        let error = Reference::parse("ftp://user:word@a.b/c").unwrap_err();
        assert!(!error.to_string().contains("word"), "{error}");
    }

    #[test]
    fn a_local_source_ends_where_its_tag_begins() {
        let source = |text: &str| Reference::parse(text).unwrap().local_source();
        assert_eq!(source("oci:/a/b:latest"), Some("/a/b/index.json".into()));
        assert_eq!(source("docker-archive:x.tar"), Some("x.tar".into()));
        assert_eq!(source("docker://x"), None);
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_as_the_same(
            scheme in select(&Scheme::ALL),
            rest in prop_oneof![any::<String>(), "[aZ0:/@.-]{0,20}", "[a-z]{1,5}(:[a-z]{1,5})?"],
            has_scheme: bool,
        ) {
            let scheme = if has_scheme { scheme.1 } else { "" };
            if let Ok(reference) = Reference::parse(format!("{scheme}{rest}")) {
                let again = Reference::parse(reference.to_string()).unwrap();
                prop_assert_eq!(again.to_string(), reference.to_string());
                if reference.url() == reference.to_string() {
                    prop_assert_eq!(again, reference);
                }
            }
        }

        #[test]
        fn no_bytes_are_too_strange(
            scheme in select(&Scheme::ALL),
            rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [scheme.1.as_bytes(), &rest].concat();
            if let Ok(reference) = Reference::parse(OsStr::from_bytes(&bytes)) {
                let word = reference.to_word(false);
                prop_assert_eq!(Reference::parse(word).unwrap().scheme(), Some(scheme.0));
            }
        }
    }
}

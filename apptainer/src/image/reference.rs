//! What images are called.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The name of an image: a URI, or a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
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
    /// Nothing stands behind the scheme.
    #[error("read the image reference {text:?}: nothing follows the scheme")]
    NoName {
        /// The text.
        text: String,
    },
}

impl Scheme {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Docker, "docker://"),
        (Self::Oras, "oras://"),
        (Self::Library, "library://"),
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

    /// Whether what follows is a path on this machine.
    fn is_local(self) -> bool {
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
        let shown = || text.to_string_lossy().into_owned();
        for (scheme, prefix) in Scheme::ALL {
            let Some(rest) = text.as_bytes().strip_prefix(prefix.as_bytes()) else {
                continue;
            };
            if rest.is_empty() {
                return Err(ReferenceError::NoName { text: shown() });
            }
            let rest = OsStr::from_bytes(rest).to_owned();
            let kind = Kind::Uri { scheme, rest };
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
            Kind::Uri { .. } => None,
        }
    }

    /// The scheme, if it is a URI.
    pub fn scheme(&self) -> Option<Scheme> {
        match &self.kind {
            Kind::Uri { scheme, .. } => Some(*scheme),
            Kind::Path(_) => None,
        }
    }

    /// The registry's host and port, as they stand in a `docker://` or `oras://`
    /// reference that names them.
    pub fn registry(&self) -> Option<&str> {
        match &self.kind {
            Kind::Uri {
                scheme: Scheme::Docker | Scheme::Oras,
                rest,
            } => {
                let (host, _) = rest.to_str()?.split_once('/')?;
                let is_host = host.contains(['.', ':']) || host == "localhost";
                is_host.then_some(host)
            }
            _ => None,
        }
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
            Kind::Uri { scheme, rest } => write!(f, "{}{}", scheme.prefix(), rest.display()),
            Kind::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Reference {
    /// The words for Apptainer.
    pub(super) fn to_word(&self) -> OsString {
        match &self.kind {
            Kind::Uri { scheme, rest } => {
                let mut word = OsString::from(scheme.prefix());
                word.push(rest);
                word
            }
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
    use super::*;

    #[test]
    fn schemes_are_told_from_paths() {
        for (scheme, prefix) in Scheme::ALL {
            let text = format!("{prefix}name:tag");
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
    fn a_registry_is_known_by_its_dot_or_port() {
        let registry = |text: &str| {
            Reference::parse(text)
                .unwrap()
                .registry()
                .map(str::to_owned)
        };
        assert_eq!(
            registry("docker://127.0.0.1:5000/a").as_deref(),
            Some("127.0.0.1:5000")
        );
        assert_eq!(registry("oras://ghcr.io/a/b:1").as_deref(), Some("ghcr.io"));
        assert_eq!(registry("docker://library/debian"), None);
        assert_eq!(registry("docker://debian:12"), None);
        assert_eq!(registry("oci-archive:/a.b/c"), None);
    }

    #[test]
    fn a_local_source_ends_where_its_tag_begins() {
        let source = |text: &str| Reference::parse(text).unwrap().local_source();
        assert_eq!(source("oci:/a/b:latest"), Some("/a/b/index.json".into()));
        assert_eq!(source("docker-archive:x.tar"), Some("x.tar".into()));
        assert_eq!(source("docker://x"), None);
    }
}

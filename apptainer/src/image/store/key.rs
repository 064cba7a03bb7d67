//! What entries are named by.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::image::digest::hex;
use crate::image::{Conversion, Platform, Reference};

/// What names an entry: a hash of what decides what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::image) struct Key(String);

/// What decides what an image is, before it has been fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::image) enum Source {
    /// A manifest in a registry, by its digest: whichever registry that is.
    Manifest(String),
    /// A file at a URL, as long as the server says the same of it.
    Url { url: String, validator: String },
    /// What cannot be asked for without fetching it, as it was at a time in milliseconds.
    At { uri: String, time: u64 },
    /// A file of this machine's, by what changes when it is replaced or written to.
    File(String),
    /// What was built from a definition, by the hash of all that went in.
    Build(String),
}

impl Key {
    /// Of an image.
    pub(in crate::image) fn of_image(
        source: &Source,
        platform: &Platform,
        conversion: Conversion,
    ) -> Self {
        let mut fields = Fields::default();
        match source {
            Source::Manifest(digest) => fields.feed("manifest").feed(digest),
            Source::Url { url, validator } => fields.feed("url").feed(url).feed(validator),
            Source::At { uri, time } => fields.feed("at").feed(uri).feed(time.to_string()),
            Source::File(state) => fields.feed("file").feed(state),
            Source::Build(hash) => fields.feed("build").feed(hash),
        };
        fields.feed(platform.to_string());
        fields.feed(conversion.to_string());
        fields.key()
    }

    /// Of what a reference led to.
    pub(in crate::image) fn of_name(reference: &Reference, platform: &Platform) -> Self {
        let mut fields = Fields::default();
        fields.feed(reference.identity().as_bytes());
        fields.feed(platform.to_string());
        fields.key()
    }

    /// Of a SIF file outside the store.
    pub(in crate::image) fn of_file(path: &Path) -> io::Result<Self> {
        let mut fields = Fields::default();
        fields.feed(&file_state(path)?);
        Ok(fields.key())
    }

    pub(in crate::image) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of an entry that was found.
    pub(super) fn from_name(name: &std::ffi::OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let is_key = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_key.then(|| Self(name.to_owned()))
    }
}

/// A file by what changes when it is replaced or written to.
pub(in crate::image) fn file_state(path: &Path) -> io::Result<String> {
    let path = fs::canonicalize(path)?;
    let file = fs::metadata(&path)?;
    let mut fields = Fields::default();
    fields.feed(path.as_os_str().as_bytes());
    // Not the device, which nodes number as they like.
    for number in [file.ino(), file.len()] {
        fields.feed(number.to_le_bytes());
    }
    let times = [
        file.mtime(),
        file.mtime_nsec(),
        file.ctime(),
        file.ctime_nsec(),
    ];
    for number in times {
        fields.feed(number.to_le_bytes());
    }
    Ok(fields.key().0)
}

#[derive(Default)]
struct Fields(Sha256);

impl Fields {
    /// With its length, so that no two lists of fields are alike.
    fn feed(&mut self, field: impl AsRef<[u8]>) -> &mut Self {
        let field = field.as_ref();
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    fn key(self) -> Key {
        Key(hex(&self.0.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Compression;

    fn name(text: &str) -> Key {
        Key::of_name(&Reference::parse(text).unwrap(), &Platform::host())
    }

    #[test]
    fn names_that_look_alike_have_their_own_keys() {
        assert_ne!(name("docker://a/b:c"), name("docker://a_b_c"));
        assert_ne!(name("docker://a/b:c"), name("oras://a/b:c"));
        assert_eq!(name("docker://a/b:c"), name("docker://docker.io/a/b:c"));
    }

    #[test]
    fn what_differs_in_anything_has_another_key() {
        let source = |digest: &str| Source::Manifest(digest.into());
        let key = |source: &Source, platform: &str, conversion: Conversion| {
            Key::of_image(source, &platform.parse().unwrap(), conversion)
        };
        let plain = Conversion::default();
        let first = key(&source("sha256:1"), "amd64", plain);
        assert_eq!(first, key(&source("sha256:1"), "amd64", plain));
        assert_ne!(first, key(&source("sha256:2"), "amd64", plain));
        assert_ne!(first, key(&source("sha256:1"), "arm64", plain));
        let zstd = Conversion {
            compression: Some(Compression::Zstd { level: 3 }),
        };
        assert_ne!(first, key(&source("sha256:1"), "amd64", zstd));
        assert_ne!(
            first,
            key(&Source::Build("sha256:1".into()), "amd64", plain)
        );
    }

    #[test]
    fn a_file_that_changes_has_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        fs::write(&path, "one").unwrap();
        let before = Key::of_file(&path).unwrap();
        fs::write(&path, "three").unwrap();
        assert_ne!(Key::of_file(&path).unwrap(), before);
    }
}

//! Images as directories in the OCI image layout.
//!
//! Source: the OCI image specification 1.1, `image-layout.md`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::registry::Found;

/// A directory that blobs are put into.
#[derive(Debug)]
pub(super) struct Layout {
    path: PathBuf,
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

impl Layout {
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        for algorithm in ["sha256", "sha512"] {
            fs::create_dir_all(path.join("blobs").join(algorithm))?;
        }
        Ok(Self { path })
    }

    /// Where the blob of a digest belongs.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
        self.path.join("blobs").join(algorithm).join(hex)
    }

    /// Writes what leads to an image, whose blobs are there.
    pub(super) fn finish(&self, image: &Found) -> io::Result<()> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "mediaType")]
            media_type: Option<String>,
        }
        fs::write(self.blob(&image.digest), &image.bytes)?;
        let kind: Kind = serde_json::from_slice(&image.bytes)?;
        let manifest = serde_json::json!({
            "mediaType": kind.media_type.as_deref().unwrap_or(OCI_MANIFEST),
            "digest": image.digest,
            "size": image.bytes.len(),
        });
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": [manifest] });
        fs::write(self.path.join("index.json"), index.to_string())?;
        fs::write(
            self.path.join("oci-layout"),
            r#"{"imageLayoutVersion":"1.0.0"}"#,
        )
    }
}

/// The same file under another name; a copy where that cannot be.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(from, to).map(drop),
        linked => linked,
    }
}

//! The OCI image layout: a directory of blobs, each named by its hash.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::ExportError;
use super::config::Description;
use super::error::write_error;
use super::layer;
use super::partial::sync;
use super::rootfs::RootFs;
use super::sink::{Blob, Stop};

/// A layout that is being made.
pub(super) struct Layout {
    folder: PathBuf,
    blobs: PathBuf,
}

/// What an image is called in a layout.
#[derive(Debug, Clone)]
pub(super) struct Name {
    /// `3.12`.
    pub(super) tag: String,
    /// `docker.io/library/python:3.12`, where that is known.
    pub(super) full: Option<String>,
}

// Source: the OCI image specification, version 1.1.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl Layout {
    /// Makes one at `folder` of one image with one layer. The answer is its manifest.
    pub(super) fn write(
        folder: &Path,
        root: &RootFs,
        described: &Description,
        name: &Name,
        stop: &Stop,
    ) -> Result<Blob, ExportError> {
        let layout = Self {
            folder: folder.to_owned(),
            blobs: folder.join("blobs/sha256"),
        };
        fs::create_dir_all(&layout.blobs).map_err(write_error(&layout.blobs))?;
        let unnamed = layout.blobs.join("layer");
        let layer = layer::write(root, &described.renamed, &unnamed, stop)?;
        let named = layout.path(&layer.blob);
        fs::rename(&unnamed, &named).map_err(write_error(&named))?;
        let config = layout.add(&described.image_config(&layer.diff_id))?;
        let manifest = layout.add(&json!({
            "config": descriptor(CONFIG, &config),
            "layers": [descriptor(LAYER, &layer.blob)],
            "mediaType": MANIFEST,
            "schemaVersion": 2,
        }))?;
        layout.add_index(&manifest, described, name)?;
        layout.add_docker_manifest(&config, &layer.blob, name)?;
        layout.put("oci-layout", &json!({"imageLayoutVersion": "1.0.0"}))?;
        for folder in [&layout.blobs, &folder.join("blobs"), folder] {
            sync(folder).map_err(write_error(folder))?;
        }
        Ok(manifest)
    }

    fn add_index(
        &self,
        manifest: &Blob,
        described: &Description,
        name: &Name,
    ) -> Result<(), ExportError> {
        let mut annotations = Map::new();
        let tag = name.tag.as_str();
        annotations.insert("org.opencontainers.image.ref.name".into(), tag.into());
        if let Some(full) = &name.full {
            annotations.insert("io.containerd.image.name".into(), full.as_str().into());
        }
        let mut descriptor = descriptor(MANIFEST, manifest);
        descriptor["annotations"] = annotations.into();
        descriptor["platform"] = described.platform();
        let index = json!({
            "manifests": [descriptor],
            "mediaType": INDEX,
            "schemaVersion": 2,
        });
        self.put("index.json", &index)
    }

    /// What `docker load` reads from an archive, up to version 24; later ones know layouts.
    fn add_docker_manifest(
        &self,
        config: &Blob,
        layer: &Blob,
        name: &Name,
    ) -> Result<(), ExportError> {
        let path = |blob: &Blob| format!("blobs/{}", blob.digest.replace(':', "/"));
        let tags: Vec<_> = name.full.iter().collect();
        let manifest = json!([{
            "Config": path(config),
            "Layers": [path(layer)],
            "RepoTags": tags,
        }]);
        self.put("manifest.json", &manifest)
    }

    /// Adds a document as a blob.
    fn add(&self, document: &Value) -> Result<Blob, ExportError> {
        let text = document.to_string();
        let blob = Blob::of(text.as_bytes());
        let path = self.path(&blob);
        put(&path, &text).map_err(write_error(&path))?;
        Ok(blob)
    }

    fn put(&self, name: &str, document: &Value) -> Result<(), ExportError> {
        let path = self.folder.join(name);
        put(&path, &document.to_string()).map_err(write_error(&path))
    }

    fn path(&self, blob: &Blob) -> PathBuf {
        let hash = blob.digest.trim_start_matches("sha256:");
        self.blobs.join(hash)
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({"digest": blob.digest, "mediaType": media_type, "size": blob.size})
}

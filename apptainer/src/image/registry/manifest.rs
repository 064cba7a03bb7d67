//! What registries say of images.
//!
//! Source of the shapes and media types: the OCI image specification 1.1, `manifest.md` and
//! `image-index.md`, and Docker's image manifest version 2, schema 2.

use serde::Deserialize;

use super::RegistryError;
use super::error::short;
use crate::image::Platform;
use crate::image::oci_reference::check_digest;

/// The kinds of manifest that are understood, in the order in which they are asked for.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A layer that is a SIF file. Source: `apptainer push` 1.4.5.
const SIF_LAYER: &str = "application/vnd.sylabs.sif.layer.v1.sif";

/// Something in a registry, by its content.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::image) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    pub(in crate::image) media_type: String,
    pub(in crate::image) digest: String,
    /// In bytes.
    pub(in crate::image) size: u64,
    #[serde(default)]
    platform: Option<OfferedPlatform>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct OfferedPlatform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// An image: what it is made of, and what it is to be run with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::image) struct ImageManifest {
    pub(in crate::image) config: Descriptor,
    pub(in crate::image) layers: Vec<Descriptor>,
}

/// What a reference leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Manifest {
    Image(ImageManifest),
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Reads one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Any {
            #[serde(default)]
            schema_version: u32,
            manifests: Option<Vec<Descriptor>>,
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
        }
        let malformed = |reason: String| RegistryError::Malformed {
            what: "a manifest",
            reason,
        };
        let any: Any =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        let manifest = match any {
            Any {
                schema_version: 0 | 1,
                ..
            } => {
                return Err(malformed(
                    "it is of Docker's first schema, which was given up".into(),
                ));
            }
            Any {
                manifests: Some(manifests),
                ..
            } => Self::Index(manifests),
            Any {
                config: Some(config),
                layers: Some(layers),
                ..
            } => Self::Image(ImageManifest { config, layers }),
            Any { .. } => return Err(malformed("it has neither layers nor manifests".into())),
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Digests become names of files: they must be what they are said to be.
    fn check(&self) -> Result<(), RegistryError> {
        let named: Vec<_> = match self {
            Self::Image(image) => image.blobs().collect(),
            Self::Index(entries) => entries.iter().collect(),
        };
        for descriptor in named {
            let digest = &descriptor.digest;
            check_digest(digest).map_err(|_| RegistryError::Malformed {
                what: "a manifest",
                reason: format!("{:?} is no digest", short(digest)),
            })?;
        }
        Ok(())
    }
}

impl ImageManifest {
    /// Everything that it is made of, the configuration first.
    pub(in crate::image) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// The layer that is a SIF file as a whole, if that is what the image is.
    pub(in crate::image) fn sif(&self) -> Option<&Descriptor> {
        self.layers
            .iter()
            .find(|layer| layer.media_type == SIF_LAYER)
    }

    /// Refuses what no container could be made of.
    pub(in crate::image) fn check_layers(&self) -> Result<(), RegistryError> {
        let is_layer = |kind: &str| {
            let kind = kind.split_once('+').map_or(kind, |(kind, _)| kind);
            matches!(
                kind,
                "application/vnd.oci.image.layer.v1.tar"
                    | "application/vnd.docker.image.rootfs.diff.tar"
                    | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            )
        };
        match self
            .layers
            .iter()
            .find(|layer| !is_layer(&layer.media_type))
        {
            Some(layer) => Err(RegistryError::MediaType {
                media_type: layer.media_type.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// The entry of an index that does best for a platform.
pub(super) fn choose<'a>(
    entries: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, RegistryError> {
    let platform = |entry: &Descriptor| {
        let offered = entry.platform.as_ref()?;
        Platform::offered(
            &offered.os,
            &offered.architecture,
            offered.variant.as_deref(),
        )
    };
    // What builders add to describe an image is none.
    let is_image =
        |entry: &&Descriptor| !entry.annotations.contains_key("vnd.docker.reference.type");
    let images = entries.iter().filter(is_image);
    let fitting = images.clone().filter_map(|entry| {
        let distance = wanted.distance(&platform(entry)?)?;
        Some((distance, entry))
    });
    let best = fitting.min_by_key(|(distance, _)| *distance);
    best.map(|(_, entry)| entry)
        .ok_or_else(|| RegistryError::NoPlatform {
            wanted: wanted.clone(),
            offered: images.filter_map(platform).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> Vec<Descriptor> {
        let entry =
            |(number, (os, architecture, variant)): (usize, &(&str, &str, Option<&str>))| {
                serde_json::json!({
                    "digest": format!("sha256:{number:064x}"),
                    "size": 1,
                    "platform": { "os": os, "architecture": architecture, "variant": variant },
                })
            };
        let manifests: Vec<_> = platforms.iter().enumerate().map(entry).collect();
        let text = serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        match Manifest::parse(text.as_bytes()).unwrap() {
            Manifest::Index(entries) => entries,
            Manifest::Image(_) => panic!("it is an index"),
        }
    }

    #[test]
    fn the_platform_that_is_wanted_is_chosen() {
        let entries = index(&[
            ("windows", "amd64", None),
            ("linux", "arm64", Some("v8")),
            ("linux", "amd64", None),
            ("unknown", "unknown", None),
        ]);
        let chosen = choose(&entries, &"amd64".parse().unwrap()).unwrap();
        assert_eq!(chosen, &entries[2]);
        let chosen = choose(&entries, &"arm64".parse().unwrap()).unwrap();
        assert_eq!(chosen, &entries[1]);
        let error = choose(&entries, &"s390x".parse().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("linux/s390x"), "{text}");
        assert!(text.contains("linux/arm64/v8, linux/amd64"), "{text}");
    }

    #[test]
    fn digests_that_are_none_are_refused() {
        for digest in ["", "../../x", "sha256:../../../../../etc/passwd", "md5:00"] {
            let text = serde_json::json!({
                "schemaVersion": 2,
                "config": { "digest": DIGEST, "size": 1 },
                "layers": [{ "digest": digest, "size": 1 }],
            });
            let error = Manifest::parse(text.to_string().as_bytes()).unwrap_err();
            assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let texts = [
            "",
            "[]",
            "{}",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":1,"layers":[]}"#,
        ];
        for text in texts {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, RegistryError::Malformed { .. }), "{error}");
        }
    }
}

//! Files of the host in a container.

use std::path::{Path, PathBuf};

use apptainer_sys::command::{Access, Home, Mount, Overlay};
use serde::{Deserialize, Serialize};

use super::is_unset;

/// A file or directory of the host, or what is in an image, at a place in the container.
///
/// ```
/// use apptainer::BindMount;
///
/// let data = BindMount::new("/srv/data.sif", "/data").image_source("/").read_only();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindMount {
    source: PathBuf,
    destination: PathBuf,
    #[serde(default, rename = "read_only", skip_serializing_if = "is_unset")]
    is_read_only: bool,
    #[serde(default, skip_serializing_if = "is_unset")]
    image_source: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "is_unset")]
    image_id: Option<u32>,
}

impl BindMount {
    /// `source` of the host at `destination` in the container, for reading and writing.
    pub fn new(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            is_read_only: false,
            image_source: None,
            image_id: None,
        }
    }

    /// Only for reading.
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// A directory within the source, which is an image: `/` for all of it.
    pub fn image_source(mut self, path: impl Into<PathBuf>) -> Self {
        self.image_source = Some(path.into());
        self
    }

    /// The partition, by its number in the source, which is a SIF file.
    pub fn image_id(mut self, id: u32) -> Self {
        self.image_id = Some(id);
        self
    }

    /// Where it is on the host.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Where it is in the container.
    pub fn destination(&self) -> &Path {
        &self.destination
    }

    /// The same with a source that is spelt out.
    pub(crate) fn mount_of(&self, source: &Path) -> Mount {
        let access = if self.is_read_only {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        let mut mount = Mount::bind(source, &self.destination).access(access);
        if let Some(path) = &self.image_source {
            mount = mount.image_source(path);
        }
        if let Some(id) = self.image_id {
            mount = mount.image_id(id);
        }
        mount
    }
}

/// A directory or image that is laid over the container's image. What is written to it stays
/// there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayLayer {
    path: PathBuf,
    #[serde(default, rename = "read_only", skip_serializing_if = "is_unset")]
    is_read_only: bool,
}

impl OverlayLayer {
    /// A layer that is written to: every container has at most one.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            is_read_only: false,
        }
    }

    /// Only for reading; there may be many.
    pub fn read_only(mut self) -> Self {
        self.is_read_only = true;
        self
    }

    /// Where it is on the host.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is only for reading.
    pub fn is_read_only(&self) -> bool {
        self.is_read_only
    }

    /// The same with a path that is spelt out.
    pub(crate) fn layer_of(&self, path: &Path) -> Overlay {
        let layer = Overlay::new(path);
        if self.is_read_only {
            layer.read_only()
        } else {
            layer
        }
    }
}

/// A directory of the host that is the home directory in the container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeDir {
    source: PathBuf,
    #[serde(default, skip_serializing_if = "is_unset")]
    destination: Option<PathBuf>,
}

impl HomeDir {
    /// `source` of the host, at the same path.
    pub fn new(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: None,
        }
    }

    /// At `destination` in the container instead.
    pub fn to(mut self, destination: impl Into<PathBuf>) -> Self {
        self.destination = Some(destination.into());
        self
    }

    /// Where it is on the host.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Where it is in the container.
    pub fn destination(&self) -> &Path {
        self.destination.as_ref().unwrap_or(&self.source)
    }

    /// As it was said, but for the source.
    pub(crate) fn home_of(&self, source: &Path) -> Home {
        Home::new(source).to(self.destination())
    }
}

//! What a workspace is made of.

use std::path::{Path, PathBuf};

use crate::Image;
use crate::image::Definition;

/// What a workspace is made of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Source {
    /// An image: any [reference](crate::Reference), or a path.
    Image(String),
    /// An image that is there.
    Ready(Image),
    /// An image that is built by this definition first, unless the store has it.
    Definition(Box<Definition>),
}

impl From<&str> for Source {
    fn from(reference: &str) -> Self {
        Self::Image(reference.to_owned())
    }
}

impl From<String> for Source {
    fn from(reference: String) -> Self {
        Self::Image(reference)
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        Self::Image(path.to_string_lossy().into_owned())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        path.as_path().into()
    }
}

impl From<Image> for Source {
    fn from(image: Image) -> Self {
        Self::Ready(image)
    }
}

impl From<&Image> for Source {
    fn from(image: &Image) -> Self {
        Self::Ready(image.clone())
    }
}

impl From<Definition> for Source {
    fn from(definition: Definition) -> Self {
        Self::Definition(Box::new(definition))
    }
}

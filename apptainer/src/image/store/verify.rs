//! Whether images are what they were when they were stored.

use std::path::Path;

use apptainer_sys::sif::Sif;

use super::layout::Form;
use super::stored::StoredImage;
use crate::image::digest::Hash;

/// An image that is not what it was when it was stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Damage {
    /// The image.
    pub image: StoredImage,
    /// What is wrong with it.
    pub reason: String,
}

impl Damage {
    /// Reads an image.
    ///
    /// What was extracted may be written to, and is only known to be there.
    pub(super) fn find(image: StoredImage) -> Option<Self> {
        let found = match image.form {
            Form::Sif => check(&image.path, image.record.sif.as_deref()),
            Form::Sandbox if image.path.is_dir() => Ok(()),
            Form::Sandbox => Err("the directory is not there".into()),
        };
        // What was taken away meanwhile is not damaged.
        let is_there = image.folder.exists();
        let reason = found.err().filter(|_| is_there)?;
        Some(Self { image, reason })
    }
}

fn check(path: &Path, expected: Option<&str>) -> Result<(), String> {
    Sif::open(path).map_err(|error| error.to_string())?;
    let Some(expected) = expected else {
        return Ok(());
    };
    let actual = Hash::of_file(path).map_err(|error| error.to_string())?;
    if actual == expected {
        return Ok(());
    }
    Err(format!("its digest is {actual}, and was {expected}"))
}

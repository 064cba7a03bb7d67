//! Whether images are what they were when they were stored.

use std::fs::File;
use std::path::Path;

use apptainer_sys::sif::Sif;

use super::layout::Form;
use super::record::{self, ENTRY, EntryRecord};
use super::stored::StoredImage;
use crate::image::digest::Hash;
use crate::lock::is_at;

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
        let path = image.folder.join(ENTRY);
        // For as long as it is open no other has its number.
        let file = File::open(&path).ok()?;
        let record = record::read::<EntryRecord>(&path).ok()??;
        let found = match image.form {
            Form::Sif => check(&image.path, record.sif.as_deref()),
            Form::Sandbox if image.path.is_dir() => Ok(()),
            Form::Sandbox => Err("the directory is not there".into()),
        };
        // What was taken away meanwhile is not damaged, nor is what has come in its place.
        let is_still_there = is_at(&file, &path).unwrap_or(false);
        let reason = found.err().filter(|_| is_still_there)?;
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

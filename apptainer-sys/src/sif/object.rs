//! A SIF file's data objects.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{DataType, Descriptor, Metadata, Sif, SifError};

/// A SIF file that is open, to read what is in it. Only what is asked for is read.
#[derive(Debug)]
pub struct SifFile {
    file: File,
    sif: Sif,
}

/// The name of the object that holds what `apptainer inspect` shows.
pub(super) const METADATA: &str = "inspect-metadata.json";

/// The name of the object that holds the configuration of an OCI image.
pub(super) const OCI_CONFIG: &str = "oci-config.json";

/// The longest document that is read whole, in bytes. Those of real images have
/// some kilobytes.
const LONGEST_DOCUMENT: u64 = 64 << 20;

impl SifFile {
    /// Opens the file at `path`, and checks that all that its header and table
    /// point at lies within it.
    pub fn open(path: &Path) -> Result<Self, SifError> {
        let mut file = File::open(path)?;
        let sif = Sif::read(&mut file)?;
        Ok(Self { file, sif })
    }

    /// The header and the table.
    pub fn table(&self) -> &Sif {
        &self.sif
    }

    /// The bytes of an object, to be read from its beginning.
    pub fn object(&self, descriptor: &Descriptor) -> Object<'_> {
        Object {
            file: &self.file,
            at: descriptor.offset,
            left: descriptor.size,
        }
    }

    /// The file system that is run, if there is one.
    pub fn primary_partition(&self) -> Option<&Descriptor> {
        let mut descriptors = self.sif.descriptors().iter();
        descriptors.find(|descriptor| descriptor.is_primary_partition())
    }

    /// The signatures that are present; this says nothing of whether they are good.
    pub fn signatures(&self) -> impl Iterator<Item = &Descriptor> {
        let descriptors = self.sif.descriptors().iter();
        descriptors.filter(|descriptor| descriptor.kind == DataType::Signature)
    }

    /// What `apptainer inspect --all` shows: labels, scripts, environment, apps.
    ///
    /// `None` for an image that carries none, as those built before Singularity
    /// 3.6; Apptainer runs such an image to ask it.
    pub fn metadata(&self) -> Result<Option<Metadata>, SifError> {
        self.json(METADATA)
    }

    /// The configuration of the OCI image that it was made of, in the form of the
    /// OCI image specification; an empty object for what was made otherwise.
    pub fn oci_config(&self) -> Result<Option<serde_json::Value>, SifError> {
        self.json(OCI_CONFIG)
    }

    /// The definition file that it was built from.
    pub fn definition_file(&self) -> Result<Option<String>, SifError> {
        let mut descriptors = self.sif.descriptors().iter();
        match descriptors.find(|descriptor| descriptor.kind == DataType::DefinitionFile) {
            Some(descriptor) => {
                let bytes = self.document(descriptor)?;
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            None => Ok(None),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SifError> {
        let mut descriptors = self.sif.descriptors().iter();
        let found = descriptors
            .find(|descriptor| descriptor.kind == DataType::GenericJson && descriptor.name == name);
        let Some(descriptor) = found else {
            return Ok(None);
        };
        let bytes = self.document(descriptor)?;
        match serde_json::from_slice(&bytes) {
            Ok(document) => Ok(Some(document)),
            Err(source) => Err(SifError::Document {
                name: name.to_owned(),
                source,
            }),
        }
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, SifError> {
        if descriptor.size > LONGEST_DOCUMENT {
            return Err(SifError::Damaged {
                what: format!("the size of object {}", descriptor.id),
            });
        }
        let mut bytes = Vec::new();
        self.object(descriptor).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The bytes of one object.
#[derive(Debug)]
pub struct Object<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Object<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let length = self.file.read_at(&mut buffer[..most], self.at)?;
        if length == 0 && most > 0 {
            // It was whole when it was opened.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += length as u64;
        self.left -= length as u64;
        Ok(length)
    }
}

//! What is signed as one.

use std::collections::BTreeMap;
use std::path::Path;

use apptainer_sys::sif::{DataType, Descriptor, Detail, Link, Sif};

use super::{Fingerprint, SignatureError};

/// A group of an image's objects: a signature covers all of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) number: u32,
    /// How many objects are in it.
    pub(super) objects: usize,
    /// Whom its signatures claim to be by: one for each.
    pub(super) claimed: Vec<Option<Fingerprint>>,
}

impl Group {
    /// The groups of the image at `path`, in order: whatever may be run or read is in one, and
    /// each has a signature, good or not.
    pub(super) fn all(path: &Path, sif: &Sif) -> Result<Vec<Self>, SignatureError> {
        let uncovered = |reason: String| SignatureError::Uncovered {
            image: path.to_owned(),
            reason,
        };
        let descriptors = sif.descriptors();
        let is_signature = |object: &&Descriptor| object.kind == DataType::Signature;
        if !descriptors.iter().any(|object| is_signature(&object)) {
            return Err(SignatureError::Unsigned {
                image: path.to_owned(),
            });
        }
        if !descriptors.iter().any(Descriptor::is_primary_partition) {
            return Err(uncovered("there is no file system to run".into()));
        }
        let mut objects: BTreeMap<u32, usize> = BTreeMap::new();
        for object in descriptors {
            match object.group {
                Some(group) => *objects.entry(group).or_default() += 1,
                None if is_signature(&object) => {}
                None => return Err(uncovered(format!("object {} is in no group", object.id))),
            }
        }
        let groups = objects.into_iter().map(|(number, objects)| {
            let signatures = descriptors.iter().filter(is_signature);
            let of_this = signatures.filter(|object| object.link == Some(Link::Group(number)));
            let claimed: Vec<_> = of_this.map(claimed).collect();
            if claimed.is_empty() {
                return Err(uncovered(format!("group {number} has no signature")));
            }
            Ok(Self {
                number,
                objects,
                claimed,
            })
        });
        groups.collect()
    }
}

fn claimed(signature: &Descriptor) -> Option<Fingerprint> {
    match &signature.detail {
        Detail::Signature { fingerprint, .. } => Fingerprint::from_bytes(fingerprint),
        _ => None,
    }
}

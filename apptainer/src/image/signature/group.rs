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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use apptainer_sys::sif::Header;

    const PARTITION: i32 = 0x4004;
    const SIGNATURE: i32 = 0x4005;
    const GENERIC: i32 = 0x4007;
    /// What marks the number of a group.
    const GROUP: u32 = 0xf000_0000;

    /// A file of objects: `(type, group, link)`.
    fn sif(objects: &[(i32, u32, u32)]) -> Sif {
        let end = Header::SIZE + objects.len() * Descriptor::SIZE;
        let mut file = vec![0; end];
        file[32..42].copy_from_slice(b"SIF_MAGIC\0");
        file[42..48].copy_from_slice(b"01\x0002\0");
        let mut number =
            |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        number(88, &(objects.len() as u64).to_le_bytes());
        number(96, &(Header::SIZE as u64).to_le_bytes());
        number(112, &(end as u64).to_le_bytes());
        for (index, (kind, group, link)) in objects.iter().enumerate() {
            let at = Header::SIZE + index * Descriptor::SIZE;
            number(at, &kind.to_le_bytes());
            number(at + 4, &[1]);
            number(at + 5, &u32::try_from(index + 1).unwrap().to_le_bytes());
            number(at + 9, &(group | GROUP).to_le_bytes());
            number(at + 13, &link.to_le_bytes());
            number(at + 17, &(end as u64).to_le_bytes());
            if *kind == PARTITION {
                // A squashfs that is the primary system.
                number(at + 201, &[1, 0, 0, 0, 2, 0, 0, 0]);
            }
            if *kind == SIGNATURE {
                number(at + 205, &[7; 20]);
            }
        }
        Sif::read(&mut Cursor::new(file)).unwrap()
    }

    fn groups(objects: &[(i32, u32, u32)]) -> Result<Vec<Group>, SignatureError> {
        Group::all(Path::new("a.sif"), &sif(objects))
    }

    fn is_uncovered(objects: &[(i32, u32, u32)]) -> bool {
        matches!(groups(objects), Err(SignatureError::Uncovered { .. }))
    }

    #[test]
    fn groups_are_found_with_their_signatures() {
        let objects = [
            (GENERIC, 1, 0),
            (PARTITION, 1, 0),
            (SIGNATURE, 0, GROUP | 1),
            (GENERIC, 2, 0),
            (SIGNATURE, 0, GROUP | 2),
            (SIGNATURE, 0, GROUP | 2),
        ];
        let groups = groups(&objects).unwrap();
        let found = groups
            .iter()
            .map(|group| (group.number, group.objects, group.claimed.len()));
        assert_eq!(found.collect::<Vec<_>>(), [(1, 2, 1), (2, 1, 2)]);
        assert_eq!(groups[0].claimed[0], Fingerprint::from_bytes(&[7; 20]));
    }

    #[test]
    fn without_a_signature_it_is_not_signed() {
        let found = groups(&[(PARTITION, 1, 0)]);
        assert!(matches!(found, Err(SignatureError::Unsigned { .. })));
    }

    #[test]
    fn a_signature_of_another_group_or_of_one_object_covers_no_group() {
        let signed = (SIGNATURE, 0, GROUP | 1);
        assert!(groups(&[(PARTITION, 1, 0), signed]).is_ok());
        assert!(is_uncovered(&[(PARTITION, 2, 0), (GENERIC, 1, 0), signed]));
        assert!(is_uncovered(&[(PARTITION, 2, 0), signed]));
        // As Singularity before 3.6 signed.
        assert!(is_uncovered(&[(PARTITION, 1, 0), (SIGNATURE, 0, 1)]));
    }

    #[test]
    fn an_object_in_no_group_is_not_covered() {
        let signed = (SIGNATURE, 0, GROUP | 1);
        assert!(is_uncovered(&[(PARTITION, 1, 0), signed, (GENERIC, 0, 0)]));
        assert!(is_uncovered(&[(GENERIC, 1, 0), signed, (PARTITION, 0, 0)]));
    }

    #[test]
    fn what_has_nothing_to_run_is_not_covered() {
        assert!(is_uncovered(&[(GENERIC, 1, 0), (SIGNATURE, 0, GROUP | 1)]));
    }
}

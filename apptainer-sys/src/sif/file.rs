//! A SIF file as a whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::{Descriptor, Header, SifError};

/// The header and the table of a SIF file, known to fit the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sif {
    header: Header,
    descriptors: Vec<Descriptor>,
}

/// More descriptors than any real image has: a file that claims so is damaged.
const MOST_DESCRIPTORS: u64 = 1 << 16;

impl Sif {
    /// Reads the header and the table of the file at `path`, and checks that all
    /// they point at lies within the file.
    ///
    /// Reads no data object, so it says nothing about their contents.
    pub fn open(path: &Path) -> Result<Self, SifError> {
        Self::read(&mut File::open(path)?)
    }

    /// The same of a file that is open already.
    pub fn read(file: &mut (impl Read + Seek)) -> Result<Self, SifError> {
        let file_length = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        let mut header = [0; Header::SIZE];
        if file_length < Header::SIZE as u64 {
            return Err(SifError::NotSif);
        }
        file.read_exact(&mut header)?;
        let header = Header::parse(&header)?;
        let descriptors = read_table(file, &header, file_length)?;
        for descriptor in &descriptors {
            let what = || format!("object {}", descriptor.id);
            let end = descriptor
                .end()
                .ok_or_else(|| SifError::Damaged { what: what() })?;
            if end > file_length {
                return Err(SifError::Truncated {
                    what: what(),
                    end,
                    length: file_length,
                });
            }
        }
        Ok(Self {
            header,
            descriptors,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The descriptors that are in use, in the order of the table.
    pub fn descriptors(&self) -> &[Descriptor] {
        &self.descriptors
    }
}

fn read_table(
    file: &mut (impl Read + Seek),
    header: &Header,
    file_length: u64,
) -> Result<Vec<Descriptor>, SifError> {
    let damaged = || SifError::Damaged {
        what: "the table of descriptors".into(),
    };
    if header.descriptors_total > MOST_DESCRIPTORS {
        return Err(damaged());
    }
    let size = header.descriptors_total * Descriptor::SIZE as u64;
    let end = header
        .descriptors_offset
        .checked_add(size)
        .ok_or_else(damaged)?;
    if end > file_length {
        return Err(SifError::Truncated {
            what: "the table of descriptors".into(),
            end,
            length: file_length,
        });
    }
    file.seek(SeekFrom::Start(header.descriptors_offset))?;
    let mut table = vec![0; usize::try_from(size).map_err(|_| damaged())?];
    file.read_exact(&mut table)?;
    let (entries, _) = table.as_chunks::<{ Descriptor::SIZE }>();
    let entries = entries.iter().map(Descriptor::parse);
    entries.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A file with one object of ten bytes behind a table for two.
    fn small() -> Vec<u8> {
        let mut file = vec![0; Header::SIZE + 2 * Descriptor::SIZE];
        let data = file.len() as u64;
        file[32..42].copy_from_slice(b"SIF_MAGIC\0");
        file[42..48].copy_from_slice(b"01\x0002\0");
        let mut number =
            |at: usize, value: u64| file[at..at + 8].copy_from_slice(&value.to_le_bytes());
        number(88, 2);
        number(96, Header::SIZE as u64);
        number(112, data);
        number(120, 10);
        let at = Header::SIZE;
        number(at + 17, data);
        number(at + 25, 10);
        file[at..at + 4].copy_from_slice(&0x4004_i32.to_le_bytes());
        file[at + 4] = 1;
        file[at + 5] = 1;
        file[at + 73..at + 77].copy_from_slice(b"root");
        file.extend([7; 10]);
        file
    }

    #[test]
    fn header_and_table_are_read() {
        let sif = Sif::read(&mut Cursor::new(small())).unwrap();
        assert_eq!(sif.header().arch, super::super::Arch::Amd64);
        let [root] = sif.descriptors() else {
            panic!("one descriptor is in use: {sif:?}");
        };
        assert_eq!((root.id, root.size, root.name.as_str()), (1, 10, "root"));
        assert_eq!(root.kind, super::super::DataType::Partition);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let whole = small();
        for length in 0..whole.len() {
            let cut = Sif::read(&mut Cursor::new(&whole[..length]));
            assert!(
                matches!(cut, Err(SifError::NotSif | SifError::Truncated { .. })),
                "{length}: {cut:?}"
            );
        }
    }

    #[test]
    fn numbers_that_overflow_are_refused() {
        let at = Header::SIZE;
        for place in [88, 96, at + 17, at + 25] {
            for value in [i64::MAX, i64::MIN, -1] {
                let mut file = small();
                file[place..place + 8].copy_from_slice(&value.to_le_bytes());
                assert!(
                    Sif::read(&mut Cursor::new(file)).is_err(),
                    "{place} {value}"
                );
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_change_makes_the_reader_panic(place in 0..1300_usize, bytes: [u8; 8]) {
            let mut file = small();
            let end = file.len().min(place + 8);
            if place < end {
                file[place..end].copy_from_slice(&bytes[..end - place]);
            }
            let _ = Sif::read(&mut Cursor::new(file));
        }
    }
}

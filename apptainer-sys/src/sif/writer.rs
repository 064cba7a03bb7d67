//! Making SIF files.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::descriptor::GROUP;
use super::object::{METADATA, OCI_CONFIG};
use super::{Arch, DataType, Descriptor, FsType, Header, Metadata, PartitionType};

/// A SIF file to be written: objects in the order in which they are added, all in
/// one group.
///
/// ```no_run
/// use std::fs::File;
/// use std::path::Path;
///
/// use apptainer_sys::sif::{Arch, FsType, SifWriter};
///
/// let mut sif = SifWriter::new(Arch::Amd64);
/// sif.definition_file("bootstrap: scratch\n");
/// sif.primary_partition(FsType::Squashfs, Path::new("root.squashfs"))?;
/// sif.write(&mut File::create_new("image.sif")?)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SifWriter {
    arch: Arch,
    uuid: Option<[u8; 16]>,
    created: Option<i64>,
    objects: Vec<NewObject>,
}

#[derive(Debug)]
struct NewObject {
    kind: DataType,
    name: String,
    source: Source,
    extra: Vec<u8>,
}

#[derive(Debug)]
enum Source {
    Bytes(Vec<u8>),
    File { file: File, length: u64 },
}

/// How the file begins, so that it can be run like a program.
const LAUNCH: &[u8] = b"#!/usr/bin/env run-singularity\n";

/// Where the table begins, and how many descriptors there is room for, in what
/// Apptainer itself writes.
const TABLE_OFFSET: u64 = 4096;
const TABLE_LENGTH: usize = 48;

/// What the place of a file system is a multiple of.
const PAGE: u64 = 4096;

/// The longest name of an object, in bytes.
const LONGEST_NAME: usize = 127;

impl SifWriter {
    /// A file for programs of this architecture, with nothing in it.
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            uuid: None,
            created: None,
            objects: Vec::new(),
        }
    }

    /// The identity and the time of making, in seconds since 1970: a random one
    /// and now, otherwise. Set, the same objects make the same bytes.
    pub fn identity(&mut self, uuid: [u8; 16], created: i64) -> &mut Self {
        self.uuid = Some(uuid);
        self.created = Some(created);
        self
    }

    /// Adds the definition file.
    pub fn definition_file(&mut self, text: impl Into<String>) -> &mut Self {
        let source = Source::Bytes(text.into().into_bytes());
        self.push(DataType::DefinitionFile, "", source, Vec::new())
    }

    /// Adds what `apptainer inspect` shows.
    pub fn metadata(&mut self, metadata: &Metadata) -> serde_json::Result<&mut Self> {
        let source = Source::Bytes(serde_json::to_vec(metadata)?);
        Ok(self.push(DataType::GenericJson, METADATA, source, Vec::new()))
    }

    /// Adds the configuration of the OCI image that this one is made of, in the
    /// form of the OCI image specification.
    pub fn oci_config(&mut self, config: &serde_json::Value) -> serde_json::Result<&mut Self> {
        let source = Source::Bytes(serde_json::to_vec(config)?);
        Ok(self.push(DataType::GenericJson, OCI_CONFIG, source, Vec::new()))
    }

    /// Adds the file system that is run, from the file at `path`.
    ///
    /// The file is opened now and read by [`write`](Self::write).
    pub fn primary_partition(&mut self, fs: FsType, path: &Path) -> io::Result<&mut Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut extra = Vec::new();
        extra.extend(fs.number().to_le_bytes());
        extra.extend(PartitionType::PrimarySystem.number().to_le_bytes());
        extra.extend(self.arch.digits());
        let source = Source::File { file, length };
        Ok(self.push(DataType::Partition, "", source, extra))
    }

    /// Adds any other object.
    pub fn object(
        &mut self,
        kind: DataType,
        name: impl AsRef<str>,
        bytes: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.push(kind, name.as_ref(), Source::Bytes(bytes.into()), Vec::new())
    }

    fn push(&mut self, kind: DataType, name: &str, source: Source, extra: Vec<u8>) -> &mut Self {
        self.objects.push(NewObject {
            kind,
            name: name.to_owned(),
            source,
            extra,
        });
        self
    }

    /// Writes it all, from the beginning of `file`, which should be empty.
    ///
    /// A name longer than 127 bytes is refused before anything is written. After
    /// another error what is in `file` is of no use.
    pub fn write(self, file: &mut (impl Write + Seek)) -> io::Result<()> {
        let name = self.objects.iter().map(|object| &object.name);
        if let Some(name) = name.into_iter().find(|name| name.len() > LONGEST_NAME) {
            let message = format!("the name {name:?} is longer than {LONGEST_NAME} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let created = self.created.unwrap_or_else(now);
        let uuid = self.uuid.map_or_else(random_uuid, Ok)?;
        let room = self.objects.len().max(TABLE_LENGTH);
        let table_size = (room * Descriptor::SIZE) as u64;
        let data_offset = TABLE_OFFSET + table_size;

        let count = self.objects.len();
        let mut table = Vec::with_capacity(room * Descriptor::SIZE);
        let mut end = data_offset;
        for (id, object) in (1_u32..).zip(self.objects) {
            let padding = match object.kind {
                DataType::Partition => end.next_multiple_of(PAGE) - end,
                _ => 0,
            };
            let offset = end + padding;
            file.seek(SeekFrom::Start(offset))?;
            let size = object.source.copy_to(file)?;
            let entry = Entry {
                id,
                offset,
                size,
                padding,
                created,
            };
            table.extend(entry.bytes(object.kind, &object.name, &object.extra));
            end = offset + size;
        }
        table.resize(room * Descriptor::SIZE, 0);

        let mut header = Vec::with_capacity(Header::SIZE);
        header.extend(LAUNCH);
        header.resize(32, 0);
        header.extend(b"SIF_MAGIC\x0001\0");
        header.extend(self.arch.digits());
        header.extend(uuid);
        let numbers = [
            created,
            created,
            signed((room - count) as u64)?,
            signed(room as u64)?,
            signed(TABLE_OFFSET)?,
            signed(table_size)?,
            signed(data_offset)?,
            signed(end - data_offset)?,
        ];
        header.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&header)?;
        file.seek(SeekFrom::Start(TABLE_OFFSET))?;
        file.write_all(&table)?;
        file.flush()
    }
}

impl Source {
    fn copy_to(self, target: &mut impl Write) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => {
                target.write_all(&bytes)?;
                Ok(bytes.len() as u64)
            }
            Self::File { file, length } => {
                let copied = io::copy(&mut file.take(length), target)?;
                if copied < length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Ok(copied)
            }
        }
    }
}

/// An entry of the table.
struct Entry {
    id: u32,
    offset: u64,
    size: u64,
    padding: u64,
    created: i64,
}

impl Entry {
    fn bytes(&self, kind: DataType, name: &str, extra: &[u8]) -> Vec<u8> {
        const ALL_IN_ONE: u32 = 1;
        let mut bytes = Vec::with_capacity(Descriptor::SIZE);
        bytes.extend(kind.number().to_le_bytes());
        bytes.push(1);
        for number in [self.id, GROUP | ALL_IN_ONE, 0] {
            bytes.extend(number.to_le_bytes());
        }
        for number in [self.offset, self.size, self.size + self.padding] {
            bytes.extend(number.to_le_bytes());
        }
        for time in [self.created, self.created] {
            bytes.extend(time.to_le_bytes());
        }
        // The owner, whom nothing asks for.
        bytes.extend([0; 16]);
        bytes.extend(name.as_bytes());
        bytes.resize(Descriptor::SIZE - 384, 0);
        bytes.extend(extra);
        bytes.resize(Descriptor::SIZE, 0);
        bytes
    }
}

/// The format keeps lengths as signed numbers.
fn signed(number: u64) -> io::Result<i64> {
    i64::try_from(number).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Version 4 of RFC 9562.
fn random_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut uuid)?;
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    Ok(uuid)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Detail, Sif};
    use super::*;

    fn written(writer: SifWriter) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        writer.write(&mut file).unwrap();
        file.into_inner()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut root = tempfile::NamedTempFile::new().unwrap();
        root.write_all(b"hsqs and more").unwrap();
        let mut writer = SifWriter::new(Arch::Arm64);
        writer.definition_file("bootstrap: scratch\n");
        writer
            .primary_partition(FsType::Squashfs, root.path())
            .unwrap();
        writer.object(DataType::Generic, "note", "text");
        let file = written(writer);
        let sif = Sif::read(&mut Cursor::new(&file)).unwrap();
        assert_eq!(sif.header().arch, Arch::Arm64);
        assert_eq!(sif.header().descriptors_free, 45);
        let [definition, root, note] = sif.descriptors() else {
            panic!("three objects were added: {sif:?}");
        };
        assert_eq!(definition.kind, DataType::DefinitionFile);
        assert_eq!((root.id, root.group, root.link), (2, Some(1), None));
        assert_eq!(root.offset % PAGE, 0);
        assert!(root.is_primary_partition());
        let Detail::Partition { fs, arch, .. } = root.detail else {
            panic!("it is a partition: {root:?}");
        };
        assert_eq!((fs, arch), (FsType::Squashfs, Arch::Arm64));
        assert_eq!((note.name.as_str(), note.size), ("note", 4));
        assert!(file.ends_with(b"text"));
    }

    #[test]
    fn the_same_objects_make_the_same_bytes() {
        let make = || {
            let mut writer = SifWriter::new(Arch::Amd64);
            writer
                .identity([7; 16], 0)
                .definition_file("bootstrap: scratch\n");
            written(writer)
        };
        assert_eq!(make(), make());
    }

    #[test]
    fn more_objects_than_usual_fit() {
        let mut writer = SifWriter::new(Arch::Amd64);
        for number in 0..100 {
            writer.object(DataType::Generic, format!("object {number}"), [number; 3]);
        }
        let file = written(writer);
        let sif = Sif::read(&mut Cursor::new(&file)).unwrap();
        assert_eq!(sif.descriptors().len(), 100);
        assert_eq!(sif.descriptors()[99].name, "object 99");
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let mut writer = SifWriter::new(Arch::Amd64);
        writer.object(DataType::Generic, "n".repeat(128), "");
        let mut file = Cursor::new(Vec::new());
        let error = writer.write(&mut file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(file.into_inner().is_empty());
    }
}

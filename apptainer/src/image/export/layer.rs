//! A root file system as a layer of an OCI image: a compressed tar file.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{Mode, OFlags};
use tar::{Builder, EntryType, Header};

use super::ExportError;
use super::error::{read_error, write_error};
use super::rootfs::RootFs;
use super::sink::{Blob, Sink, Stop};
use super::tree::{Entry, Tree, unlocked};

/// A layer that has been written.
#[derive(Debug)]
pub(super) struct Layer {
    /// As it is: compressed.
    pub(super) blob: Blob,
    /// The digest of what it is when it is not compressed.
    pub(super) diff_id: String,
}

/// Files that have another name in a layer, by that in the root file system; by that one
/// there is an empty file.
pub(super) type Renamed = HashMap<PathBuf, PathBuf>;

/// Writes the files of `root` to the file at `target`.
///
/// Everything belongs to root, as in the container that it comes from. Device nodes, which
/// every engine makes by itself, and sockets are left out.
pub(super) fn write(
    root: &RootFs,
    renamed: &Renamed,
    target: &Path,
    stop: &Stop,
) -> Result<Layer, ExportError> {
    let file = File::create_new(target).map_err(write_error(target))?;
    let compressed = GzEncoder::new(Sink::new(file, stop), Compression::default());
    let mut writer = Writer {
        root,
        target,
        tar: Builder::new(Sink::new(compressed, stop)),
        links: HashMap::new(),
        buffer: vec![0; 64 * 1024],
    };
    for entry in Tree::of(root) {
        let mut entry = entry?;
        let mode = writer.mode(&entry);
        if let Some(name) = renamed.get(&entry.path) {
            let empty = header(EntryType::Regular, mode, &entry.metadata);
            writer.put(empty, &entry, None, &mut io::empty())?;
            entry.path.clone_from(name);
        }
        writer.append(&entry, mode)?;
    }
    let finish = || {
        let (compressed, content) = writer.tar.into_inner()?.finish();
        let (file, blob) = compressed.finish()?.finish();
        file.sync_all()?;
        let diff_id = content.digest;
        Ok(Layer { blob, diff_id })
    };
    finish().map_err(write_error(target))
}

struct Writer<'a> {
    root: &'a RootFs,
    target: &'a Path,
    tar: Builder<Sink<GzEncoder<Sink<File>>>>,
    /// The first name of each file that has several, and its mode, by device and inode.
    links: HashMap<(u64, u64), (PathBuf, u32)>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn append(&mut self, entry: &Entry, mode: u32) -> Result<(), ExportError> {
        let kind = entry.metadata.file_type();
        if kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
            tracing::debug!(path = %entry.full.display(), "left out of an exported image");
            return Ok(());
        }
        let name = entry.path.file_name().unwrap_or_default();
        if name.as_bytes().starts_with(b".wh.") {
            let path = entry.full.clone();
            return Err(ExportError::Whiteout { path });
        }
        if let Some((first, mode)) = self.first_name(entry, mode) {
            let header = header(EntryType::Link, mode, &entry.metadata);
            return self.put(header, entry, Some(&first), &mut io::empty());
        }
        let header = |kind| header(kind, mode, &entry.metadata);
        if kind.is_dir() {
            return self.put(header(EntryType::Directory), entry, None, &mut io::empty());
        }
        if kind.is_symlink() {
            let target = fs::read_link(&entry.full).map_err(read_error(&entry.full))?;
            let header = header(EntryType::Symlink);
            return self.put(header, entry, Some(&target), &mut io::empty());
        }
        if kind.is_fifo() {
            return self.put(header(EntryType::Fifo), entry, None, &mut io::empty());
        }
        self.append_file(header(EntryType::Regular), entry)
    }

    /// Where a file is in the layer already, under another of its names.
    fn first_name(&mut self, entry: &Entry, mode: u32) -> Option<(PathBuf, u32)> {
        let found = &entry.metadata;
        if found.nlink() < 2 || !found.is_file() {
            return None;
        }
        let this = (entry.path.clone(), mode);
        let first = self.links.entry((found.dev(), found.ino()));
        let first = first.or_insert(this);
        (first.0 != entry.path).then(|| first.clone())
    }

    fn mode(&self, entry: &Entry) -> u32 {
        let lost = self.root.lost_bits.get(&entry.path);
        entry.metadata.mode() | lost.copied().unwrap_or(0)
    }

    fn append_file(&mut self, mut header: Header, entry: &Entry) -> Result<(), ExportError> {
        let size = entry.metadata.len();
        header.set_size(size);
        let full = &entry.full;
        let file = unlocked(self.root, full, 0o400, || open(full)).map_err(read_error(full))?;
        let mut content = Content {
            file,
            left: size,
            error: None,
        };
        let put = self.put(header, entry, None, &mut content);
        match content.error {
            Some(source) => Err(read_error(full)(source)),
            None => put,
        }
    }

    fn put(
        &mut self,
        mut header: Header,
        entry: &Entry,
        link: Option<&Path>,
        content: &mut dyn Read,
    ) -> Result<(), ExportError> {
        let mut name = entry.path.as_os_str().as_bytes().to_vec();
        if name.is_empty() {
            name.push(b'.');
        }
        if entry.metadata.is_dir() {
            name.push(b'/');
        }
        let link = link.map(|link| link.as_os_str().as_bytes());
        // A hard link's are those of the file.
        let is_link = header.entry_type() == EntryType::Link;
        let xattrs = if is_link {
            Vec::new()
        } else {
            self.xattrs(&entry.full)
        };
        let mut records: Vec<(&str, &[u8])> = Vec::new();
        let fields = header.as_old_mut();
        if !fit(&mut fields.name, &name) {
            records.push(("path", &name));
        }
        if let Some(link) = link.filter(|link| !fit(&mut fields.linkname, link)) {
            records.push(("linkpath", link));
        }
        let xattrs = xattrs
            .iter()
            .map(|(name, value)| (name.as_str(), &value[..]));
        records.extend(xattrs);
        header.set_cksum();
        let put = || {
            if !records.is_empty() {
                self.tar.append_pax_extensions(records.iter().copied())?;
            }
            self.tar.append(&header, content)
        };
        put().map_err(write_error(self.target))
    }

    /// The extended attributes that mean something in another place, as records of a tar
    /// file; none where they cannot be read.
    fn xattrs(&mut self, path: &Path) -> Vec<(String, Vec<u8>)> {
        let Ok(length) = rustix::fs::llistxattr(path, &mut self.buffer[..]) else {
            return Vec::new();
        };
        let names = self.buffer[..length].split(|byte| *byte == 0);
        let names = names.filter_map(|name| std::str::from_utf8(name).ok());
        let is_portable = |name: &&str| {
            (name.starts_with("user.") || *name == "security.capability") && !name.contains('=')
        };
        let mut names: Vec<_> = names.filter(is_portable).map(str::to_owned).collect();
        names.sort_unstable();
        let value = |name: String| {
            let length = rustix::fs::lgetxattr(path, &name, &mut self.buffer[..]).ok()?;
            Some((
                format!("SCHILY.xattr.{name}"),
                self.buffer[..length].to_vec(),
            ))
        };
        names.into_iter().filter_map(value).collect()
    }
}

/// Everything that does not depend on the name.
fn header(kind: EntryType, mode: u32, metadata: &Metadata) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header
}

/// Puts a name into a field, or its beginning if it is too long for that.
fn fit(field: &mut [u8; 100], name: &[u8]) -> bool {
    let length = name.len().min(field.len());
    field[..length].copy_from_slice(&name[..length]);
    length == name.len()
}

/// Without following a link, and without waiting for whoever writes to a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// As many bytes of a file as it had when its header was made.
struct Content {
    file: File,
    left: u64,
    /// Why that failed.
    error: Option<io::Error>,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let error = match self.file.read(&mut buffer[..most]) {
            Ok(0) if most > 0 => io::Error::other("it became shorter while it was read"),
            Ok(length) => {
                self.left -= length as u64;
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => error,
        };
        let kind = error.kind();
        self.error = Some(error);
        Err(kind.into())
    }
}

#[cfg(test)]
mod tests;

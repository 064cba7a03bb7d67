//! An OCI image layout as one tar file.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::sink::{Sink, Stop};

/// Writes the layout at `layout` to the tar file `target`.
pub(super) fn write(layout: &Path, target: &Path, stop: &Stop) -> io::Result<()> {
    let file = File::create_new(target)?;
    let mut tar = Builder::new(Sink::new(file, stop));
    for name in ["oci-layout", "index.json", "manifest.json"] {
        append(&mut tar, layout, name)?;
    }
    for name in ["blobs/", "blobs/sha256/"] {
        let mut header = header(EntryType::Directory, 0o755, 0);
        tar.append_data(&mut header, name, io::empty())?;
    }
    let blobs = fs::read_dir(layout.join("blobs/sha256"))?;
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
    let mut blobs: Vec<_> = blobs.map(name).collect::<io::Result<_>>()?;
    blobs.sort_unstable();
    for blob in blobs {
        append(&mut tar, layout, Path::new("blobs/sha256").join(blob))?;
    }
    let (file, _) = tar.into_inner()?.finish();
    file.sync_all()
}

fn append(tar: &mut Builder<Sink<File>>, layout: &Path, name: impl AsRef<Path>) -> io::Result<()> {
    let file = File::open(layout.join(&name))?;
    let mut header = header(EntryType::Regular, 0o644, file.metadata()?.len());
    tar.append_data(&mut header, name, file)
}

/// The same whoever writes it, and when.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

//! Files and directories of this machine, as `cp -rL` would take them, and what they are.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::DefinitionError;

/// What something is: its names, its permissions, its bytes; and neither its owners nor its times,
/// which Apptainer does not copy.
pub(super) type Hash = [u8; 32];

/// Takes what lies at `source`, links followed. Copies it to `target` if there is one, and then
/// tells what was copied, whatever becomes of the source meanwhile.
pub(super) fn take(source: &Path, target: Option<&Path>) -> Result<Hash, DefinitionError> {
    take_below(source, target, &mut Vec::new())
}

/// Writes, if there is a `target`, a file of its own.
pub(super) fn write(
    content: &[u8],
    mode: u32,
    target: Option<&Path>,
) -> Result<Hash, DefinitionError> {
    if let Some(target) = target {
        let write = || {
            let mut file = create(target)?;
            file.write_all(content)?;
            file.set_permissions(Permissions::from_mode(mode))
        };
        write().map_err(failed(target))?;
    }
    let mut hash = begin(b'f', mode);
    hash.update(content);
    Ok(hash.finalize().into())
}

/// `around` are the directories it lies in, by device and inode.
fn take_below(
    source: &Path,
    target: Option<&Path>,
    around: &mut Vec<(u64, u64)>,
) -> Result<Hash, DefinitionError> {
    let found = fs::metadata(source).map_err(failed(source))?;
    if found.is_file() {
        return take_file(source, target).map_err(failed(source));
    }
    if !found.is_dir() {
        let path = source.to_owned();
        return Err(DefinitionError::Special { path });
    }
    let this = (found.dev(), found.ino());
    if around.contains(&this) {
        let path = source.to_owned();
        return Err(DefinitionError::Loop { path });
    }
    around.push(this);
    let taken = take_directory(source, target, permissions(&found), around);
    around.pop();
    taken
}

fn take_directory(
    source: &Path,
    target: Option<&Path>,
    mode: u32,
    around: &mut Vec<(u64, u64)>,
) -> Result<Hash, DefinitionError> {
    if let Some(target) = target {
        fs::create_dir(target).map_err(failed(target))?;
    }
    let mut hash = begin(b'd', mode);
    for name in names(source).map_err(failed(source))? {
        let target = target.map(|target| target.join(&name));
        let inner = take_below(&source.join(&name), target.as_deref(), around)?;
        feed(&mut hash, name.as_bytes());
        hash.update(inner);
    }
    if let Some(target) = target {
        // Only now, as it may forbid to write.
        let mode = Permissions::from_mode(mode);
        fs::set_permissions(target, mode).map_err(failed(target))?;
    }
    Ok(hash.finalize().into())
}

fn take_file(source: &Path, target: Option<&Path>) -> io::Result<Hash> {
    let mut source = File::open(source)?;
    let mode = permissions(&source.metadata()?);
    let mut content = match target {
        None => source,
        Some(target) => {
            let mut copy = create(target)?;
            // By reference where the file system can.
            io::copy(&mut source, &mut copy)?;
            copy.set_permissions(Permissions::from_mode(mode))?;
            copy.rewind()?;
            copy
        }
    };
    let mut hash = begin(b'f', mode);
    io::copy(&mut content, &mut Fed(&mut hash))?;
    Ok(hash.finalize().into())
}

/// A hash that is written to.
struct Fed<'a>(&'a mut Sha256);

impl Write for Fed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A new file, for the time being for nobody else.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}

fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    Ok(names)
}

/// What `cp` keeps of a mode.
fn permissions(found: &fs::Metadata) -> u32 {
    found.mode() & 0o777
}

fn begin(kind: u8, mode: u32) -> Sha256 {
    let mut hash = Sha256::new();
    hash.update([kind]);
    hash.update(mode.to_le_bytes());
    hash
}

/// Adds a part that cannot run into the next.
pub(super) fn feed(hash: &mut Sha256, part: &[u8]) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> DefinitionError {
    let path = path.to_owned();
    |source| DefinitionError::Source { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_copy_is_what_the_source_was() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::write(source.join("a/b/file\n\"%"), "content").unwrap();
        mode(&source.join("a/b/file\n\"%"), 0o640);
        symlink("a/b", source.join("link")).unwrap();
        mode(&source.join("a/b"), 0o555);

        let target = folder.path().join("target");
        let copied = take(&source, Some(&target)).unwrap();
        assert_eq!(copied, take(&source, None).unwrap());
        assert_eq!(copied, take(&target, None).unwrap());
        let through = target.join("link/file\n\"%");
        assert_eq!(fs::read(&through).unwrap(), b"content");
        assert!(fs::symlink_metadata(target.join("link")).unwrap().is_dir());
        assert_eq!(fs::metadata(&through).unwrap().mode() & 0o7777, 0o640);

        // So that they can be removed.
        for folder in [source.join("a/b"), target.join("a/b"), target.join("link")] {
            mode(&folder, 0o755);
        }
    }

    #[test]
    fn whatever_reaches_the_image_changes_the_hash() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir(&source).unwrap();
        let mut seen = Vec::new();
        let mut changed = |change: &dyn Fn(&Path)| {
            change(&source);
            let hash = take(&source, None).unwrap();
            assert!(!seen.contains(&hash));
            seen.push(hash);
        };
        changed(&|_| {});
        changed(&|source| fs::write(source.join("a"), "1").unwrap());
        changed(&|source| fs::write(source.join("a"), "2").unwrap());
        changed(&|source| mode(&source.join("a"), 0o700));
        changed(&|source| fs::rename(source.join("a"), source.join("b")).unwrap());
        changed(&|source| fs::create_dir(source.join("c")).unwrap());
        changed(&|source| mode(&source.join("c"), 0o711));
        changed(&|source| fs::rename(source.join("b"), source.join("c/b")).unwrap());
        changed(&|source| mode(source, 0o711));
    }

    #[test]
    fn what_cannot_be_copied_is_told() {
        let folder = tempfile::tempdir().unwrap();
        symlink(folder.path(), folder.path().join("loop")).unwrap();
        let refused = take(folder.path(), None).unwrap_err();
        assert!(matches!(refused, DefinitionError::Loop { .. }), "{refused}");
        let refused = take(Path::new("/dev/null"), None).unwrap_err();
        assert!(
            matches!(refused, DefinitionError::Special { .. }),
            "{refused}"
        );
        let refused = take(&folder.path().join("nosuch"), None).unwrap_err();
        assert!(refused.is_not_found(), "{refused}");
    }
}

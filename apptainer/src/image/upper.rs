//! The upper layer of an overlay, put onto a copy of the lower one.
//!
//! What an upper layer takes away it says in marks, which differ: the kernel's are described in
//! its `Documentation/filesystems/overlayfs.rst`, those of `fuse-overlayfs` in its manual; this one
//! leaves some of both.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::{self, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::ImageError;
use super::store::{remove_all, store_error};

/// Attributes by which a directory hides what is below it.
const OPAQUE: [&CStr; 3] = [
    c"trusted.overlay.opaque",
    c"user.overlay.opaque",
    c"user.fuseoverlayfs.opaque",
];

/// Attributes of files that are not whole without the lower layer. They take options of the kernel's
/// that Apptainer does not set.
const PARTIAL: [&str; 4] = [
    "trusted.overlay.metacopy",
    "trusted.overlay.redirect",
    "user.overlay.metacopy",
    "user.overlay.redirect",
];

/// What the names of all attributes of overlays begin with.
const PREFIXES: [&str; 3] = ["trusted.overlay.", "user.overlay.", "user.fuseoverlayfs."];

/// What `fuse-overlayfs` has in a directory that hides what is below it.
const OPAQUE_FILES: [&str; 2] = [".wh..wh..opq", ".wh..opq"];

/// What it has as the beginning of a name that is taken away, where it cannot make devices.
const WHITEOUT: &[u8] = b".wh.";

/// Moves all that is in the layer at `upper` to the tree at `onto`, and takes away there what the layer
/// does. Both are this process's alone, and in one file system. Blocks.
///
/// Where it fails, neither is of use any more.
pub(super) fn apply(upper: &Path, onto: &Path) -> Result<(), ImageError> {
    let mut directories = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let directory = Directory {
            from: upper.join(&path),
            to: onto.join(&path),
        };
        let failed = store_error(&directory.from);
        let (found, below) = directory.apply().map_err(failed)?;
        open.extend(below.into_iter().map(|name| path.join(name)));
        // The root of a layer is no one's choice.
        if !path.as_os_str().is_empty() {
            directories.push((directory, found));
        }
    }
    // What is deeper first: a directory may be closed to its user, or have a time.
    for (directory, found) in directories.iter().rev() {
        let failed = store_error(&directory.to);
        directory.settle(found).map_err(failed)?;
    }
    Ok(())
}

/// A directory of the layer, and where it goes: one, too.
struct Directory {
    from: PathBuf,
    to: PathBuf,
}

impl Directory {
    /// Moves what is in it, but for directories, which are made and named. Says what it was like.
    fn apply(&self) -> io::Result<(Metadata, Vec<OsString>)> {
        let found = fs::symlink_metadata(&self.from)?;
        for path in [&self.from, &self.to] {
            let mode = fs::symlink_metadata(path)?.permissions().mode();
            fs::set_permissions(path, Permissions::from_mode(mode | 0o700))?;
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.from)? {
            entries.push(entry?.file_name());
        }
        if self.is_opaque(&entries)? {
            remove_all(&self.to)?;
            fs::create_dir(&self.to)?;
        }
        let mut below = Vec::new();
        for name in entries {
            if OPAQUE_FILES.iter().any(|mark| name == *mark) {
                continue;
            }
            let (from, to) = (self.from.join(&name), self.to.join(&name));
            let found = fs::symlink_metadata(&from)?;
            if let Some(hidden) = hidden_by(&name, &found) {
                remove(&self.to.join(hidden))?;
            } else if found.is_dir() {
                make_directory(&to)?;
                below.push(name);
            } else {
                clean(&from)?;
                remove(&to)?;
                fs::rename(&from, &to)?;
            }
        }
        Ok((found, below))
    }

    fn is_opaque(&self, entries: &[OsString]) -> io::Result<bool> {
        if entries.iter().any(|name| name == OPAQUE_FILES[0]) {
            return Ok(true);
        }
        for name in OPAQUE {
            let mut value = [0; 1];
            match rustix::fs::lgetxattr(&self.from, name, &mut value) {
                Ok(1) if value == *b"y" => return Ok(true),
                Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Has the directory that was made be like the one in the layer.
    fn settle(&self, found: &Metadata) -> io::Result<()> {
        clean(&self.from)?;
        for name in attributes(&self.from)? {
            let mut value = vec![0; 64 * 1024];
            let length = rustix::fs::lgetxattr(&self.from, &*name, &mut value)?;
            rustix::fs::lsetxattr(&self.to, &*name, &value[..length], XattrFlags::empty())?;
        }
        lchown(&self.to, Some(found.uid()), Some(found.gid()))?;
        let times = FileTimes::new()
            .set_accessed(found.accessed()?)
            .set_modified(found.modified()?);
        fs::File::open(&self.to)?.set_times(times)?;
        fs::set_permissions(&self.to, found.permissions())
    }
}

/// The name that an entry of a layer takes away, if that is what it is for.
fn hidden_by(name: &OsStr, found: &Metadata) -> Option<OsString> {
    let kind = found.file_type();
    if kind.is_char_device() && found.rdev() == 0 {
        return Some(name.to_owned());
    }
    let hidden = name.as_bytes().strip_prefix(WHITEOUT)?;
    let is_mark = kind.is_file() && found.len() == 0 && found.mode() & 0o7777 == 0o700;
    is_mark.then(|| OsStr::from_bytes(hidden).to_owned())
}

/// Removes whatever is there, if anything is.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => remove_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has a directory there, and nothing else.
fn make_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(path)
}

/// Takes away what an overlay has noted of a file.
fn clean(path: &Path) -> io::Result<()> {
    for name in attributes(path)? {
        let Ok(text) = name.to_str() else { continue };
        if PARTIAL.contains(&text) {
            let what = format!("it is not whole in the layer ({text})");
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        if PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            rustix::fs::lremovexattr(path, &*name)?;
        }
    }
    Ok(())
}

/// The names of a file's attributes.
fn attributes(path: &Path) -> io::Result<Vec<CString>> {
    /// All that the kernel gives of one file. Source: `xattr(7)`.
    const MOST: usize = 64 * 1024;
    let mut names = vec![0; MOST];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = names[..length].split_inclusive(|byte| *byte == 0);
    Ok(names
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .map(CStr::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{DirBuilderExt, symlink};

    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

    use super::*;

    /// A layer, and what it is put onto.
    struct Trees {
        _folder: tempfile::TempDir,
        upper: PathBuf,
        onto: PathBuf,
    }

    impl Trees {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let [upper, onto] = ["upper", "onto"].map(|name| folder.path().join(name));
            fs::create_dir(&upper).unwrap();
            fs::create_dir(&onto).unwrap();
            Self {
                _folder: folder,
                upper,
                onto,
            }
        }

        fn apply(&self) -> Result<(), ImageError> {
            apply(&self.upper, &self.onto)
        }

        /// Everything in the result: paths, and what files say.
        fn listing(&self) -> Vec<String> {
            let mut found = Vec::new();
            list(&self.onto, Path::new(""), &mut found);
            found.sort();
            found
        }
    }

    fn list(root: &Path, path: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(root.join(path)).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name());
            let kind = entry.file_type().unwrap();
            let text = path.display();
            if kind.is_dir() {
                found.push(format!("{text}/"));
                list(root, &path, found);
            } else if kind.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                found.push(format!("{text} -> {}", target.display()));
            } else {
                let says = fs::read_to_string(entry.path()).unwrap();
                found.push(format!("{text}: {says}"));
            }
        }
    }

    fn put(root: &Path, path: &str, says: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, says).unwrap();
    }

    fn whiteout(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let kind = FileType::CharacterDevice;
        mknodat(CWD, &path, kind, Mode::empty(), makedev(0, 0)).unwrap();
    }

    #[test]
    fn what_is_new_replaces_what_was_there_whatever_it_is() {
        let trees = Trees::new();
        put(&trees.onto, "kept/same", "old");
        put(&trees.onto, "kept/changed", "old");
        put(&trees.onto, "file to directory", "old");
        put(&trees.onto, "directory to file/in/it", "old");
        symlink("/nowhere", trees.onto.join("link to file")).unwrap();
        put(&trees.upper, "kept/changed", "new");
        put(&trees.upper, "file to directory/in", "new");
        put(&trees.upper, "directory to file", "new");
        put(&trees.upper, "link to file", "new");
        symlink("kept/same", trees.upper.join("link")).unwrap();
        trees.apply().unwrap();
        let expected = [
            "directory to file: new",
            "file to directory/",
            "file to directory/in: new",
            "kept/",
            "kept/changed: new",
            "kept/same: old",
            "link -> kept/same",
            "link to file: new",
        ];
        assert_eq!(trees.listing(), expected);
    }

    #[test]
    fn what_is_taken_away_is_gone_in_whichever_way_that_is_marked() {
        let trees = Trees::new();
        for path in [
            "a",
            "b/c",
            "d/e/f",
            "g",
            "opaque/old/er",
            "named/old",
            "attributed/old",
        ] {
            put(&trees.onto, path, "old");
        }
        whiteout(&trees.upper, "a");
        whiteout(&trees.upper, "b");
        whiteout(&trees.upper, "d/e");
        whiteout(&trees.upper, "d/never there");
        put(&trees.upper, ".wh.g", "");
        let mark = Permissions::from_mode(0o700);
        fs::set_permissions(trees.upper.join(".wh.g"), mark).unwrap();
        put(&trees.upper, "named/.wh..wh..opq", "");
        whiteout(&trees.upper, "named/.wh..opq");
        put(&trees.upper, "attributed/new", "new");
        let attributed = trees.upper.join("attributed");
        let name = "user.fuseoverlayfs.opaque";
        rustix::fs::lsetxattr(&attributed, name, b"y", XattrFlags::empty()).unwrap();
        put(&trees.upper, "opaque/.wh..wh..opq", "");
        put(&trees.upper, "opaque/old", "now a file");
        // A name that only looks like a mark.
        put(&trees.upper, ".wh.text", "new");
        trees.apply().unwrap();
        let expected = [
            ".wh.text: new",
            "attributed/",
            "attributed/new: new",
            "d/",
            "named/",
            "opaque/",
            "opaque/old: now a file",
        ];
        assert_eq!(trees.listing(), expected);
        let left = attributes(&trees.onto.join("attributed")).unwrap();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_link_in_the_image_leads_nowhere() {
        let trees = Trees::new();
        let outside = tempfile::tempdir().unwrap();
        put(outside.path(), "file", "outside");
        symlink(outside.path(), trees.onto.join("link")).unwrap();
        put(&trees.upper, "link/file", "inside");
        whiteout(&trees.upper, "link/other");
        trees.apply().unwrap();
        assert_eq!(trees.listing(), ["link/", "link/file: inside"]);
        let file = outside.path().join("file");
        assert_eq!(fs::read_to_string(file).unwrap(), "outside");
    }

    #[test]
    fn directories_become_what_the_layer_has_of_them() {
        let trees = Trees::new();
        let closed = trees.onto.join("closed");
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o500).create(&closed).unwrap();
        put(&trees.upper, "closed/in/file", "new");
        let from = trees.upper.join("closed");
        let times = FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        fs::File::open(&from).unwrap().set_times(times).unwrap();
        let name = "user.note";
        rustix::fs::lsetxattr(&from, name, b"kept", XattrFlags::empty()).unwrap();
        fs::set_permissions(&from, Permissions::from_mode(0o110)).unwrap();
        trees.apply().unwrap();
        let found = fs::symlink_metadata(&closed).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o110);
        assert_eq!(found.modified().unwrap(), std::time::UNIX_EPOCH);
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        assert_eq!(
            trees.listing(),
            ["closed/", "closed/in/", "closed/in/file: new"]
        );
        let mut value = [0; 4];
        rustix::fs::lgetxattr(&closed, name, &mut value).unwrap();
        assert_eq!(&value, b"kept");
    }

    #[test]
    fn a_file_that_is_not_whole_in_the_layer_is_an_error() {
        let trees = Trees::new();
        put(&trees.upper, "file", "");
        let path = trees.upper.join("file");
        let name = "user.overlay.metacopy";
        rustix::fs::lsetxattr(&path, name, b"", XattrFlags::empty()).unwrap();
        let error = trees.apply().unwrap_err();
        assert!(error.to_string().contains("metacopy"), "{error}");
    }
}

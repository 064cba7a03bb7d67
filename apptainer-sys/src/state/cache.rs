//! What Apptainer keeps of what it has downloaded.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ConfigDir;
use super::config_dir::variable;

/// Apptainer's cache of a user: `APPTAINER_CACHEDIR/cache`, or `cache` in the
/// configuration directory's usual place, `~/.apptainer`.
///
/// Each kind of image has a directory of files, named by what identifies the
/// image; layers of OCI images are in an OCI image layout, `blob`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    path: PathBuf,
}

/// What is in one part of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CacheKind {
    /// Layers, configurations and manifests of OCI images.
    Blob,
    /// SIF files from `ipfs://`.
    Ipfs,
    /// SIF files from `library://`.
    Library,
    /// SIF files from `http://` and `https://`.
    Net,
    /// SIF files made of OCI images.
    OciTmp,
    /// SIF files from `oras://`.
    Oras,
    /// SIF files from `shub://`.
    Shub,
}

/// A file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedFile {
    /// The part that it is in.
    pub kind: CacheKind,
    /// Its name: a hash, in hexadecimal.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size, in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
}

impl CacheKind {
    /// All of them, by name.
    pub const ALL: [Self; 7] = [
        Self::Blob,
        Self::Ipfs,
        Self::Library,
        Self::Net,
        Self::OciTmp,
        Self::Oras,
        Self::Shub,
    ];

    /// Its name, which is its directory's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Ipfs => "ipfs",
            Self::Library => "library",
            Self::Net => "net",
            Self::OciTmp => "oci-tmp",
            Self::Oras => "oras",
            Self::Shub => "shub",
        }
    }
}

impl Cache {
    /// The one of this process's user and environment.
    pub fn of_this_user() -> io::Result<Self> {
        let parent = match variable("CACHEDIR") {
            Some(path) => path.into(),
            None => ConfigDir::default_path()?,
        };
        Ok(Self::at(parent.join("cache")))
    }

    /// The one at `path`: the directory in which `oci-tmp` is.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where files of a kind are.
    pub fn folder(&self, kind: CacheKind) -> PathBuf {
        let folder = self.path.join(kind.name());
        match kind {
            CacheKind::Blob => folder.join("blobs/sha256"),
            _ => folder,
        }
    }

    /// What is in it, by kind and name. What Apptainer has not finished writing
    /// yet is left out.
    pub fn files(&self) -> io::Result<Vec<CachedFile>> {
        let mut files = Vec::new();
        for kind in CacheKind::ALL {
            let entries = match fs::read_dir(self.folder(kind)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                files.extend(cached_file(kind, &entry?)?);
            }
        }
        files.sort_unstable_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Ok(files)
    }
}

fn cached_file(kind: CacheKind, entry: &DirEntry) -> io::Result<Option<CachedFile>> {
    let metadata = match entry.metadata() {
        Ok(metadata) => metadata,
        // It was removed since.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = entry.file_name().into_string();
    // A file in the making is called `tmp_` and something, until it is renamed.
    Ok(name
        .ok()
        .filter(|name| metadata.is_file() && !name.starts_with("tmp_"))
        .map(|name| CachedFile {
            kind,
            name,
            path: entry.path(),
            size: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_kind() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path());
        assert_eq!(cache.files().unwrap(), []);
        for (kind, name) in [
            (CacheKind::OciTmp, "b"),
            (CacheKind::Blob, "a"),
            (CacheKind::OciTmp, "tmp_1"),
        ] {
            fs::create_dir_all(cache.folder(kind)).unwrap();
            fs::write(cache.folder(kind).join(name), "four").unwrap();
        }
        fs::create_dir(cache.folder(CacheKind::OciTmp).join("folder")).unwrap();
        let files = cache.files().unwrap();
        let found: Vec<_> = files
            .iter()
            .map(|file| (file.kind, file.name.as_str()))
            .collect();
        assert_eq!(found, [(CacheKind::Blob, "a"), (CacheKind::OciTmp, "b")]);
        assert_eq!(files[0].size, 4);
        assert_eq!(files[0].path, folder.path().join("blob/blobs/sha256/a"));
    }
}

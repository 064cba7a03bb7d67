//! What content is named by.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256, Sha512};

/// What a digest is computed with.
pub(super) enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hash {
    /// By the algorithm of a digest, which is SHA-256 where there is none.
    pub(super) fn like(digest: Option<&str>) -> Self {
        match digest {
            Some(digest) if digest.starts_with("sha512:") => Self::Sha512(Sha512::new()),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest: the algorithm and hexadecimal digits.
    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => format!("sha256:{}", hex(&hash.finalize())),
            Self::Sha512(hash) => format!("sha512:{}", hex(&hash.finalize())),
        }
    }

    /// The digest of some bytes.
    pub(super) fn of(like: Option<&str>, bytes: &[u8]) -> String {
        let mut hash = Self::like(like);
        hash.update(bytes);
        hash.finish()
    }

    /// The SHA-256 digest of a file.
    pub(super) fn of_file(path: &Path) -> io::Result<String> {
        Self::like(None).finish_with(path)
    }

    /// The digest of a file by the algorithm of another.
    pub(super) fn of_file_like(digest: &str, path: &Path) -> io::Result<String> {
        Self::like(Some(digest)).finish_with(path)
    }

    fn finish_with(mut self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(self.finish()),
                count => self.update(&buffer[..count]),
            }
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

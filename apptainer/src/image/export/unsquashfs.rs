//! Extracting the file system of a SIF file, exactly as it is.
//!
//! By `unsquashfs`, which Apptainer itself uses to extract. `apptainer build --sandbox` would
//! rewrite labels, `/dev` and what else it keeps in every sandbox.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apptainer_sys::process::{Spawn, Stdio};

use super::ExportError;
use super::error::{read_error, write_error};
use super::partial::Partial;
use super::rootfs::RootFs;
use super::run::run;
use crate::blocking::blocking;
use crate::image::squashfs::{lacks_devices_only, look_for};
use crate::process::RunEnded;

/// Extracts the Squashfs file system at `offset` in the file at `sif`.
///
/// Takes `unsquashfs` from squashfs-tools 4.4 or later.
pub(super) async fn extract(
    sif: &Path,
    offset: u64,
    partial: &Arc<Partial>,
) -> Result<RootFs, ExportError> {
    let tool = Tool {
        program: look_for("unsquashfs").ok_or(ExportError::NoUnsquashfs)?,
        sif,
        offset,
        partial,
    };
    let listing = partial.path("listing");
    tool.list(&listing).await?;
    let lost_bits = blocking(move || lost_bits(&listing).map_err(read_error(&listing))).await?;
    let path = partial.path("rootfs");
    tool.extract(&path).await?;
    Ok(RootFs {
        path,
        is_ours: true,
        lost_bits,
    })
}

struct Tool<'a> {
    program: PathBuf,
    sif: &'a Path,
    offset: u64,
    partial: &'a Arc<Partial>,
}

impl Tool<'_> {
    async fn list(&self, listing: &Path) -> Result<(), ExportError> {
        let make = || {
            let file = File::create(listing).map_err(write_error(listing))?;
            let mut spawn = self.spawn(["-lln".into()]);
            spawn.stdout(Stdio::Fd(file.into()));
            Ok(spawn)
        };
        let ended = self.run(make).await?;
        self.check(&ended)
    }

    async fn extract(&self, target: &Path) -> Result<(), ExportError> {
        let make = || {
            let is_root = nix::unistd::geteuid().is_root();
            // Others may not set the rest.
            let xattrs = (!is_root).then(|| OsString::from("-user-xattrs"));
            let mut spawn = self.spawn(xattrs.into_iter().chain(["-d".into(), target.into()]));
            spawn.stdout(Stdio::Null);
            Ok(spawn)
        };
        let ended = self.run(make).await?;
        self.check(&ended)
    }

    fn spawn(&self, words: impl IntoIterator<Item = OsString>) -> Spawn {
        let mut spawn = Spawn::new(&self.program);
        spawn
            .args(["-no-progress", "-offset", &self.offset.to_string()])
            .args(words)
            .args([self.sif])
            .set_env("LC_ALL", "C");
        spawn
    }

    async fn run(
        &self,
        make: impl Fn() -> Result<Spawn, ExportError>,
    ) -> Result<RunEnded, ExportError> {
        run(&self.program, make, Arc::clone(self.partial)).await
    }

    fn check(&self, ended: &RunEnded) -> Result<(), ExportError> {
        if ended.exit.success() || lacks_devices_only(ended.exit, &ended.stderr) {
            return Ok(());
        }
        Err(ExportError::Extract {
            path: self.sif.to_owned(),
            exit: ended.exit,
            stderr: ended.stderr_text(),
        })
    }
}

/// What `unsquashfs` takes away of modes unless root runs it: the set-user-ID and set-group-ID
/// bits, by path.
fn lost_bits(listing: &Path) -> io::Result<HashMap<PathBuf, u32>> {
    let mut found = HashMap::new();
    for line in BufReader::new(File::open(listing)?).split(b'\n') {
        found.extend(special_bits(&line?));
    }
    fs::remove_file(listing)?;
    Ok(found)
}

/// Reads `-rwsr-xr-x 0/0 1234 2026-01-31 12:00 squashfs-root/usr/bin/su`.
fn special_bits(line: &[u8]) -> Option<(PathBuf, u32)> {
    const FIELDS_BEFORE_PATH: usize = 5;
    let mode = line
        .get(..10)
        .filter(|mode| matches!(mode[0], b'-' | b'd'))?;
    let bit = |at: usize, bit: u32| {
        if mode[at].eq_ignore_ascii_case(&b's') {
            bit
        } else {
            0
        }
    };
    let bits = bit(3, 0o4000) | bit(6, 0o2000);
    if bits == 0 {
        return None;
    }
    let mut rest = line;
    for _ in 0..FIELDS_BEFORE_PATH {
        let end = rest.iter().position(|byte| *byte == b' ')?;
        // One space stands before the path, which may begin with others.
        let is_padded = |byte: &&u8| **byte == b' ';
        let spaces = rest[end..].iter().take_while(is_padded).count();
        rest = &rest[end + spaces..];
    }
    let path = rest.strip_prefix(b"squashfs-root")?;
    let path = path.strip_prefix(b"/").unwrap_or(path);
    Some((OsStr::from_bytes(path).into(), bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_bits_are_read_from_listings() {
        let read = |line: &str| special_bits(line.as_bytes());
        let su = "-rwsr-xr-x 0/0              1234 2026-01-31 12:00 squashfs-root/bin/s u";
        assert_eq!(read(su), Some(("bin/s u".into(), 0o4000)));
        let root = "drwxr-sr-x 0/0                71 2026-11-24 15:16 squashfs-root";
        assert_eq!(read(root), Some(("".into(), 0o2000)));
        let both = "-rwsr-Sr-- 0/0 3 2026-11-24 15:16 squashfs-root/a";
        assert_eq!(read(both), Some(("a".into(), 0o6000)));
        for other in [
            "",
            "-rwxr-xr-x 0/0 3 2026-11-24 15:16 squashfs-root/a",
            "lrwsrwsrwx 0/0 3 2026-11-24 15:16 squashfs-root/a -> b",
            "-rwsr-xr-x",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}

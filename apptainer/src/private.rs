//! Folders that nobody else may enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// Makes a folder, with those above it, where it is not there; says whether it is this user's, and
/// nobody else may enter it.
pub(crate) fn make_private(folder: &Path) -> io::Result<bool> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder)?;
    let found = fs::metadata(folder)?;
    let is_ours = found.uid() == nix::unistd::geteuid().as_raw();
    let is_open = found.permissions().mode() & 0o077 != 0;
    Ok(is_ours && !is_open)
}

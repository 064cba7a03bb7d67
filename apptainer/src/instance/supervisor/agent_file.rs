//! The agent's program as a file, for containers to have in the place of a script.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, linkat};
use sha2::{Digest, Sha256};

use crate::exec::resident_program;
use crate::image::hex;

/// Where it is: in the first of these folders that programs may be run from, by what is in it.
/// Made where it is not there.
pub(super) fn agent_file(folders: [&Path; 2]) -> io::Result<PathBuf> {
    let program = resident_program().ok_or_else(|| {
        let reason = "there is no agent for this processor";
        io::Error::new(io::ErrorKind::Unsupported, reason)
    })?;
    let digest = Sha256::digest(program);
    let digest = hex(&digest[..8]);
    let folder = folders.into_iter().find(|folder| may_run_from(folder));
    let folder = folder.ok_or_else(|| {
        let reason = format!(
            "programs may be run neither from {} nor from {}",
            folders[0].display(),
            folders[1].display()
        );
        io::Error::new(io::ErrorKind::PermissionDenied, reason)
    })?;
    let path = folder.join(format!("agent-{digest}"));
    // Whoever runs as this user, in a container too, can have changed it.
    if fs::read(&path).is_ok_and(|found| found == program) {
        return Ok(path);
    }
    let write = |mut file: &File| {
        file.write_all(program)?;
        file.set_permissions(Permissions::from_mode(0o555))
    };
    // One without a name leaves nothing when its writer is killed.
    let unnamed = tempfile::tempfile_in(folder)?;
    write(&unnamed)?;
    if name(&unnamed, &path).is_err() {
        // There is another, which is not whole, or the file system cannot do that.
        let file = tempfile::NamedTempFile::new_in(folder)?;
        write(file.as_file())?;
        file.persist(&path)?;
    }
    Ok(path)
}

/// Gives a name to a file that has none.
fn name(file: &File, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    let follow = AtFlags::SYMLINK_FOLLOW;
    linkat(CWD, unnamed, CWD, path, follow)?;
    Ok(())
}

fn may_run_from(folder: &Path) -> bool {
    let found = rustix::fs::statvfs(folder);
    found.is_ok_and(|found| !found.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let make = || agent_file([folder.path(), folder.path()]).unwrap();
        let path = make();
        assert_eq!(fs::read(&path).unwrap(), resident_program().unwrap());
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(make(), path);
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        // What was cut off is made anew.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "half").unwrap();
        make();
        assert_eq!(fs::read(&path).unwrap(), resident_program().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

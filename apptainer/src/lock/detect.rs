//! What a file system's locks are worth.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use crate::mountinfo::Mount;

/// Whether this folder's file system grants a flock at all.
pub(super) fn has_flock(folder: &Path) -> io::Result<bool> {
    let file = tempfile::tempfile_in(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::Error(error)) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Lustre says ENOSYS, NFS whose server or lock daemon does not answer for locks ENOLCK.
fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(Errno::ENOLCK as i32)
}

/// Whether a flock in this folder counts on all nodes that have its file system.
pub(super) fn is_passed_on(folder: &Path) -> io::Result<bool> {
    // proc(5): `mnt_id` is the mount that an open file lies on.
    let open = File::open(folder)?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", open.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let Some(id) = id.and_then(|id| id.trim().parse().ok()) else {
        return Ok(false);
    };
    let mounts = fs::read("/proc/self/mountinfo")?;
    Ok(Mount::find(&mounts, id).is_some_and(|mount| counts_everywhere(&mount)))
}

/// What is known of file systems that nodes share. All others are taken to lie on a disk, or in
/// the memory, of one node, which has all that lock.
fn counts_everywhere(mount: &Mount<'_>) -> bool {
    let has = |option| mount.has(option);
    match mount.kind {
        // mount.lustre(8): `flock` is coherent across all nodes, `localflock` counts on one.
        // Since the first is the default it is shown all the same (`ll_sbi_flags_name` and
        // `ll_show_options` in its llite).
        "lustre" => has("flock") && !has("localflock"),
        // nfs(5): with `nolock`, and `local_lock` of flock or all, others are not affected. Linux
        // shows both as `local_lock` (`nfs_show_mount_options` in fs/nfs/super.c), also for
        // version 4, and else has flock(2) lock on the server.
        "nfs" | "nfs4" => !["nolock", "local_lock=flock", "local_lock=all"]
            .into_iter()
            .any(has),
        // Documentation/filesystems/ocfs2.rst and gfs2(5): with `localflocks` the kernel does it
        // alone.
        "ocfs2" | "gfs2" => !has("localflocks"),
        // Linux's fs/afs/super.c: with `flock=local` the server is not asked.
        "afs" => !has("flock=local"),
        // On these, or on some of them as far as one can see, they count on one node:
        // - SMB passes them on since Linux 5.5, but then keeps others from reading, too (flock(2)),
        //   and with `nobrl` does not (mount.cifs(8)).
        // - BeeGFS does with `tuneUseGlobalFileLocks`, which is off by default and is not shown.
        // - GPFS granted one on two nodes, other than fcntl(2)'s, where it was measured:
        //   ibm-granite/granite.build#330, versity/versitygw#2351.
        // - QEMU says yes to every lock over 9p, for it expects one client (hw/9pfs/9p.c).
        // - FUSE has the kernel's own unless the server has asked for them, which is not shown
        //   (`fuse_file_flock` in fs/fuse/file.c). A `fuseblk` is a disk.
        "cifs" | "smb3" | "beegfs" | "gpfs" | "9p" | "fuse" | "virtiofs" => false,
        kind => !kind.starts_with("fuse."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(kind: &str, options: &str) -> bool {
        let line =
            format!("7 1 0:42 / /scratch rw,nodev shared:3 master:1 - {kind} source {options}\n");
        counts_everywhere(&Mount::find(line.as_bytes(), 7).unwrap())
    }

    #[test]
    fn a_lock_counts_everywhere_where_the_mount_says_so() {
        for (kind, options) in [
            ("ext4", "rw"),
            ("xfs", "rw,localflock"),
            ("tmpfs", "rw"),
            ("overlay", "rw,lowerdir=/a,upperdir=/b"),
            ("fuseblk", "rw"),
            ("ceph", "rw,acl"),
            ("lustre", "rw,flock,user_xattr,lazystatfs"),
            ("nfs", "rw,vers=3,local_lock=none,addr=10.0.0.1"),
            ("nfs", "rw,vers=3,local_lock=posix"),
            ("nfs4", "rw,vers=4.2,local_lock=none"),
            ("ocfs2", "rw"),
            ("gfs2", "rw"),
            ("afs", "ro,flock=openafs"),
        ] {
            assert!(counts(kind, options), "{kind} {options}");
        }
    }

    #[test]
    fn a_lock_that_may_count_on_one_node_only_is_none() {
        for (kind, options) in [
            ("lustre", "rw,localflock"),
            ("lustre", "rw,user_xattr,lazystatfs"),
            ("lustre", "rw,noflock"),
            ("lustre", "rw,flock,localflock"),
            ("nfs", "rw,vers=3,nolock,local_lock=all"),
            ("nfs", "rw,vers=3,local_lock=flock"),
            ("nfs4", "rw,local_lock=all"),
            ("cifs", "rw"),
            ("smb3", "rw,nobrl"),
            ("ocfs2", "rw,localflocks"),
            ("gfs2", "rw,localflocks"),
            ("afs", "rw,flock=local"),
            ("beegfs", "rw,cfgFile=/etc/beegfs/beegfs-client.conf"),
            ("gpfs", "rw"),
            ("9p", "rw,trans=virtio"),
            ("fuse", "rw"),
            ("fuse.sshfs", "rw,user_id=1000"),
            ("virtiofs", "rw"),
        ] {
            assert!(!counts(kind, options), "{kind} {options}");
        }
    }

    #[test]
    fn a_folder_is_found_on_its_mount() {
        let folder = tempfile::tempdir().unwrap();
        assert!(has_flock(folder.path()).unwrap());
        // Here it is that of the machine's disk or memory.
        assert!(is_passed_on(Path::new("/dev/shm")).unwrap());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let missing = folder.path().join("missing");
        let error = super::super::Locking::detect(&missing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

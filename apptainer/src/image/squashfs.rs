//! File systems of images as directories, and the reverse: by the programs that Apptainer itself
//! takes for it, without what Apptainer puts in when it does.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apptainer_sys::process::{Exit, Spawn, Stdio};
use apptainer_sys::sif::{Arch, Detail, FsType, SifError, SifFile, SifWriter};

use super::patience::Patience;
use super::store::{Scratch, store_error};
use super::{Compression, ImageError};
use crate::blocking::blocking;
use crate::process::{Keep, Run, RunEnded, RunError};

/// A program that takes file systems apart, or makes them, in a directory that is removed.
pub(super) struct Tools<'a> {
    pub(super) scratch: &'a Arc<Scratch>,
    /// Where images are unpacked, if that is elsewhere.
    pub(super) tmp: Option<&'a Arc<Scratch>>,
    pub(super) patience: Patience<'a>,
}

impl Tools<'_> {
    /// Has the files of an image, a SIF file or a sandbox, in the directory `target`, which is not
    /// there. They belong to this user, unless that is root.
    pub(super) async fn unpack(&self, image: &Path, target: &Path) -> Result<(), ImageError> {
        let is_root = nix::unistd::geteuid().is_root();
        if image.is_dir() {
            let words = ["cp", "-a", "-T", "--reflink=auto", "--"].map(OsString::from);
            let env = Path::new("/usr/bin/env").to_owned();
            let words = words.into_iter().chain([image.into(), target.into()]);
            let ended = self.run(&env, words.collect()).await?;
            return check(&env, &ended);
        }
        let program = find("unsquashfs")?;
        let mut words = ["-no-progress", "-quiet", "-offset"]
            .map(OsString::from)
            .to_vec();
        words.push(offset(image).await?.to_string().into());
        if !is_root {
            // Others may not set the rest.
            words.push("-user-xattrs".into());
        }
        words.extend(["-d".into(), target.into(), image.into()]);
        let ended = self.run(&program, words).await?;
        if lacks_devices_only(ended.exit, &ended.stderr) {
            return Ok(());
        }
        check(&program, &ended)
    }

    /// Makes the SIF file `target` of a directory: as its files are, or all of them root's.
    pub(super) async fn pack(
        &self,
        root: &Path,
        target: &Path,
        compression: Option<Compression>,
        is_roots: bool,
    ) -> Result<(), ImageError> {
        let program = find("mksquashfs")?;
        let squashed = self.scratch.path().join("root.squashfs");
        let mut words = vec![root.into(), squashed.clone().into()];
        words.extend(["-noappend", "-no-progress", "-quiet"].map(OsString::from));
        if is_roots {
            words.push("-all-root".into());
        }
        if let Some(compression) = compression {
            words.extend(compression.to_words().split(' ').map(OsString::from));
        }
        let ended = self.run(&program, words).await?;
        check(&program, &ended)?;
        let target = target.to_owned();
        let keep = Arc::clone(self.scratch);
        blocking(move || {
            let _keep = keep;
            let write = || {
                let mut sif = SifWriter::new(Arch::of_this_machine());
                sif.primary_partition(FsType::Squashfs, &squashed)?;
                sif.write(&mut File::create_new(&target)?)?;
                fs::remove_file(&squashed)
            };
            write().map_err(store_error(&target))
        })
        .await
    }

    async fn run(&self, program: &Path, words: Vec<OsString>) -> Result<RunEnded, ImageError> {
        let make = || {
            let mut spawn = Spawn::new(program);
            spawn
                .args(&words)
                .set_env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .set_env("LC_ALL", "C")
                .stdin(Stdio::Null)
                .stdout(Stdio::Null)
                .stderr(Stdio::pipe());
            Ok(spawn)
        };
        let run = Run {
            deadline: self.patience.deadline,
            stdout: Keep::End,
            heard: &mut |_| {},
        };
        let keep = (Arc::clone(self.scratch), self.tmp.cloned());
        run.run(make, keep).await.map_err(|error| match error {
            RunError::Make(error) => error,
            RunError::Spawn(error) => error.into(),
            RunError::Io(error) => store_error(program)(error),
            RunError::TimedOut => self.patience.timed_out(),
        })
    }
}

/// Why the file system in a SIF file cannot be taken apart.
pub(super) enum Unfit {
    Sif(SifError),
    FileSystem(FsType),
}

/// Where the file system begins in a SIF file. Blocks.
pub(super) fn squashfs_offset(path: &Path) -> Result<u64, Unfit> {
    let sif = SifFile::open(path).map_err(Unfit::Sif)?;
    let Some(partition) = sif.primary_partition() else {
        let what = "the table: there is no file system to run".to_owned();
        return Err(Unfit::Sif(SifError::Damaged { what }));
    };
    match partition.detail {
        Detail::Partition { fs, .. } if fs != FsType::Squashfs => Err(Unfit::FileSystem(fs)),
        _ => Ok(partition.offset),
    }
}

async fn offset(sif: &Path) -> Result<u64, ImageError> {
    let path = sif.to_owned();
    blocking(move || {
        squashfs_offset(&path).map_err(|unfit| match unfit {
            Unfit::Sif(source) => ImageError::Invalid { path, source },
            Unfit::FileSystem(found) => ImageError::FileSystem { path, found },
        })
    })
    .await
}

fn check(program: &Path, ended: &RunEnded) -> Result<(), ImageError> {
    if ended.exit.success() {
        return Ok(());
    }
    Err(ImageError::Program {
        program: program.to_owned(),
        exit: ended.exit,
        stderr: ended.stderr_text(),
    })
}

/// As Apptainer looks for a program of squashfs-tools: on `PATH`, then in the usual places.
fn find(program: &'static str) -> Result<PathBuf, ImageError> {
    look_for(program).ok_or(ImageError::NoProgram { program })
}

/// The same, where that it is missing is no error.
pub(super) fn look_for(program: &str) -> Option<PathBuf> {
    const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(std::env::split_paths(USUAL))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_absolute() && candidate.is_file())
}

/// Whether all that could not be extracted are device nodes, which are left out anyway.
///
/// Source: what `unsquashfs` 4.6 prints of them for whom may not make them.
pub(super) fn lacks_devices_only(exit: Exit, stderr: &[u8]) -> bool {
    const SIGNS: [&str; 2] = [
        "create_inode: could not create character device ",
        "create_inode: could not create block device ",
    ];
    let mut lines = stderr
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let is_device = |line: &[u8]| SIGNS.iter().any(|sign| line.starts_with(sign.as_bytes()));
    exit == Exit::Code(2) && lines.all(is_device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_nodes_may_be_missing_and_nothing_else() {
        let device: &[u8] =
            b"create_inode: could not create character device a/n, because you're not superuser!\n";
        assert!(lacks_devices_only(Exit::Code(2), device));
        assert!(!lacks_devices_only(Exit::Code(1), device));
        let full = [
            device,
            b"write_file: failed to create file a/b, because No space left\n",
        ];
        assert!(!lacks_devices_only(Exit::Code(2), &full.concat()));
    }
}

//! `apptainer overlay create`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Makes a writable layer: `apptainer overlay create IMAGE`.
    ///
    /// The image is a new file, or a SIF file that gets the layer as a partition.
    pub command Create = ["overlay", "create"] {
        groups {}
        positional {
            image: OsString,
        }
        flags {
            /// A directory to make in it.
            create_dir: list(PathBuf) = "--create-dir";
            /// For use with `--fakeroot`.
            fakeroot: switch = "--fakeroot";
            /// Its size in MiB; 64 otherwise.
            size: value(u32) = "--size";
            /// Takes room on disk only as it is filled.
            sparse: switch = "--sparse";
            /// Where to put temporary files.
            tmpdir: value(PathBuf) = "--tmpdir" since Tmpdir;
        }
    }
}

impl Create {
    /// Makes one at `image`.
    pub fn new(image: impl AsRef<Path>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}

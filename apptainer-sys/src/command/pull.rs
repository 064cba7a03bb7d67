//! `apptainer pull`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::options::{options, positional};

options! {
    /// Fetches an image into a SIF file: `apptainer pull FILE URI`.
    pub command Pull = ["pull"] {
        groups {}
        positional {
            file: OsString,
            uri: OsString,
        }
        flags {
            /// The architecture, in Go's words: `amd64`, `arm64`.
            arch: value(String) = "--arch";
            /// The variant of the architecture: `v8`.
            arch_variant: value(String) = "--arch-variant";
            /// A file with registry credentials, in Docker's format.
            authfile: value(PathBuf) = "--authfile" since Authfile;
            /// The directory that a relative file is taken from.
            dir: value(PathBuf) = "--dir";
            /// Neither reads nor writes Apptainer's cache.
            disable_cache: switch = "--disable-cache";
            /// The Docker daemon to ask for `docker-daemon:` images.
            docker_host: value(String) = "--docker-host";
            /// Asks for a user name and password on the terminal.
            docker_login: switch = "--docker-login";
            /// Overwrites the file.
            force: switch = "--force";
            /// The library to ask for `library://` images.
            library: value(String) = "--library";
            /// Keeps temporary files after a failure.
            no_cleanup: switch = "--no-cleanup";
            /// Speaks HTTP to the registry.
            no_https: switch = "--no-https";
            /// The same bytes from the same source.
            reproducible: switch = "--reproducible" since Reproducible;
            /// Makes a directory in place of a SIF file.
            sandbox: switch = "--sandbox" since PullSandbox;
            /// Where to unpack.
            tmpdir: value(PathBuf) = "--tmpdir";
        }
    }
}

impl Pull {
    /// Fetches `uri` into `file`.
    pub fn new(file: impl AsRef<Path>, uri: impl AsRef<OsStr>) -> Self {
        Self {
            file: positional(file.as_ref().as_os_str()),
            uri: positional(uri.as_ref()),
            ..Self::unset()
        }
    }
}

//! `apptainer push`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Uploads a SIF file: `apptainer push IMAGE URI`.
    ///
    /// The URI is `oras://` or `library://`.
    pub command Push = ["push"] {
        groups {}
        positional {
            image: OsString,
            uri: OsString,
        }
        flags {
            /// Takes an image without a signature to a library.
            allow_unsigned: switch = "--allow-unsigned";
            /// A file with registry credentials, in Docker's format.
            authfile: value(PathBuf) = "--authfile" since Authfile;
            /// What the library shows of the image.
            description: value(String) = "--description";
            /// The Docker daemon to ask for `docker-daemon:` images.
            docker_host: value(String) = "--docker-host";
            /// The library to push to.
            library: value(String) = "--library";
            /// Speaks HTTP to the registry.
            no_https: switch = "--no-https";
        }
    }
}

impl Push {
    /// Uploads the file `image` as `uri`.
    pub fn new(image: impl AsRef<Path>, uri: impl Into<OsString>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            uri: uri.into(),
            ..Self::unset()
        }
    }
}

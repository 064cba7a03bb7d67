//! `apptainer verify`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::command::options::{options, positional};

options! {
    /// Checks an image's signatures: `apptainer verify IMAGE`.
    pub command Verify = ["verify"] {
        groups {}
        positional {
            image: OsString,
        }
        flags {
            /// Checks every object, not only those that make up the image.
            all: switch = "--all";
            /// The certificate of the signer, in PEM.
            certificate: value(PathBuf) = "--certificate";
            /// Certificates between that one and a root, in PEM.
            certificate_intermediates: value(PathBuf) = "--certificate-intermediates";
            /// The roots to trust, in PEM.
            certificate_roots: value(PathBuf) = "--certificate-roots";
            /// Checks the objects of this group.
            group_id: value(u32) = "--group-id";
            /// As JSON.
            json: switch = "--json";
            /// The public key of the signer, in PEM.
            key: value(PathBuf) = "--key";
            /// Takes signatures in the format of Singularity before 3.6, which can be forged.
            legacy_insecure: switch = "--legacy-insecure";
            /// Asks no key server.
            local: switch = "--local";
            /// Asks whether certificates have been revoked.
            ocsp_verify: switch = "--ocsp-verify";
            /// Checks this object.
            sif_id: value(u32) = "--sif-id";
            /// The key server to ask.
            url: value(String) = "--url";
        }
    }
}

impl Verify {
    /// Checks the SIF file `image`.
    pub fn new(image: impl AsRef<Path>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            ..Self::unset()
        }
    }
}

//! Why certificates could not be had.

use std::io;
use std::path::PathBuf;

/// There are certificates for a registry, and they could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file or directory cannot be read.
    #[error("read certificates from {}: {source}; make it readable, or take it away", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that should hold certificates holds none.
    #[error(
        "read certificates from {}: there is none in PEM form; convert it with \"openssl x509 -inform der\" if it \
         is in DER form", .path.display()
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file that should hold a client's key holds none.
    #[error(
        "read the key in {}: there is none in PEM form without a passphrase; convert it with \"openssl pkey\"",
        .path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A client's certificate is without its key, or a key without its certificate.
    #[error(
        "use {}: there is no {} beside it; put it there, or name an authority's certificate *.crt",
        .path.display(), .missing.display()
    )]
    Missing {
        /// The file that is there.
        path: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
}

//! What is wrong with a SIF file.

use std::io;

/// A file is not a SIF image, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SifError {
    /// It cannot be read.
    #[error("read the image: {0}")]
    Read(#[from] io::Error),
    /// It does not begin as a SIF file does.
    #[error("read the image: it is not a SIF file")]
    NotSif,
    /// It is of a version of the format that is not known.
    #[error("read the image: it is SIF version {version:?}, and only 01 is known")]
    UnknownVersion {
        /// The version it claims.
        version: String,
    },
    /// It ends before something that it says is in it.
    #[error(
        "read the image: it is cut short, {what} ends at byte {end} of a file of {length} bytes; fetch it again"
    )]
    Truncated {
        /// What is missing.
        what: String,
        /// Where that ends, in bytes.
        end: u64,
        /// The length of the file, in bytes.
        length: u64,
    },
    /// A document in it cannot be understood.
    #[error("read the image: {name} in it is damaged: {source}")]
    Document {
        /// The name of the object.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A number in it makes no sense.
    #[error("read the image: {what} is damaged")]
    Damaged {
        /// What the number is of.
        what: String,
    },
}

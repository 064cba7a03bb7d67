//! What is wrong with a definition.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::image::ReferenceError;

/// A definition that no image can be built from. Nothing was started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// The image to start from is none.
    #[error("start from an image: {0}")]
    Base(#[from] ReferenceError),
    /// The definition file cannot be read.
    #[error("read the definition file {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no `Bootstrap:` line, or there are sections before it.
    #[error("read the definition: every part of it begins with a line such as `Bootstrap: docker`")]
    NoBootstrap,
    /// There is no `From:` line.
    #[error("read the definition: `Bootstrap: {bootstrap}` needs a line `From: IMAGE` after it")]
    NoFrom {
        /// What kind of image it starts from.
        bootstrap: String,
    },
    /// A line before the first section says nothing.
    #[error("read the definition: {line:?} stands before the sections, but is no `Key: value`")]
    Header {
        /// The line.
        line: String,
    },
    /// A line that begins with `%` begins no section that Apptainer knows.
    #[error(
        "read the definition: {heading:?} begins no section; where it is a line of a script, put \
         the script into a file, or give the definition section by section"
    )]
    UnknownSection {
        /// The line.
        heading: String,
    },
    /// A `%files` section is neither of this machine nor of a stage.
    #[error("read the definition: write `%files` or `%files from STAGE` in place of {heading:?}")]
    FilesHeading {
        /// The line.
        heading: String,
    },
    /// A line of a `%files` section that says no path.
    #[error("read the definition: {line:?} in %files names no file")]
    FilesLine {
        /// The line.
        line: String,
    },
    /// `%files from` a stage that does not come before.
    #[error("read the definition: no stage before it has a line `Stage: {name}`")]
    UnknownStage {
        /// The stage.
        name: String,
    },
    /// Apptainer reads no section that is longer than 64 KiB.
    #[error(
        "write the section %{section}: {bytes} bytes are more than Apptainer reads (64 KiB); put \
         them into a file of the image"
    )]
    TooLong {
        /// The section.
        section: String,
        /// How long it is.
        bytes: usize,
    },
    /// A line that cannot stand in a section, since Apptainer would read it as something else.
    #[error(
        "write the section %{section}: Apptainer does not take the line {line:?} as it is; put \
         the text into a file of the image"
    )]
    Line {
        /// The section.
        section: &'static str,
        /// The line.
        line: String,
    },
    /// There is a NUL byte, which no shell takes.
    #[error("write the section %{section}: there is a NUL byte in it")]
    Nul {
        /// The section.
        section: &'static str,
    },
    /// No environment variable of an image can be called so.
    #[error(
        "write the section %environment: {name:?} is no name for a variable there; letters, digits \
         and underscores are, but UID, EUID, GID, APPTAINER_.. and SINGULARITY_.. are taken"
    )]
    EnvironmentName {
        /// The name.
        name: String,
    },
    /// No label can be called so, or hold this.
    #[error(
        "write the section %labels: {name:?} = {value:?}: a name is one word that does not begin \
         with # or %, a value is one line without blanks around it"
    )]
    Label {
        /// The name.
        name: String,
        /// The value.
        value: String,
    },
    /// A `{{ name }}` that nothing is given for.
    #[error(
        "fill in the definition: {{{{ {name} }}}} has no value; give an argument, or a default in \
         an %arguments section of the same stage"
    )]
    NoArgument {
        /// The name.
        name: String,
    },
    /// An argument that no `{{ name }}` asks for.
    #[error("fill in the definition: there is no {{{{ {name} }}}} for the argument")]
    UnusedArgument {
        /// The name.
        name: String,
    },
    /// A file or directory that is to go into the image cannot be read.
    #[error("copy {} into the image: {source}", .path.display())]
    Source {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that is to go into the image is neither file nor directory.
    #[error("copy {} into the image: it is neither a file nor a directory", .path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// A link leads back to a directory that it is in.
    #[error("copy {} into the image: it leads back to a directory around it", .path.display())]
    Loop {
        /// The link.
        path: PathBuf,
    },
    /// The shell, which Apptainer asks to expand it, does not take a path in `%files`.
    #[error("expand {pattern:?} in %files: {message}")]
    Pattern {
        /// What is to be expanded.
        pattern: String,
        /// What the shell said.
        message: String,
    },
    /// The shell does not get done with it.
    #[error(
        "expand {pattern:?} in %files: that took longer than {limit:?}, and was killed; see \
         whether it runs a program that waits for something"
    )]
    PatternTimedOut {
        /// What is to be expanded.
        pattern: String,
        /// How long it might take.
        limit: Duration,
    },
    /// No file can go to this place in an image.
    #[error(
        "copy a file to {}: name its place in the image from / on, without `..`; one that ends in \
         / takes only files that have a name of their own",
        .destination.display()
    )]
    Destination {
        /// The place.
        destination: PathBuf,
    },
    /// A file mode that is more than permissions.
    #[error("write a file into the image: its mode is {mode:#o}, and more than 0o777")]
    Mode {
        /// The mode.
        mode: u32,
    },
    /// A path of this machine that cannot be written into a definition.
    #[error(
        "write a definition with {} in it: such a path cannot be told to Apptainer; use another \
         directory",
        .path.display()
    )]
    Unwritable {
        /// The path.
        path: PathBuf,
    },
}

impl DefinitionError {
    /// Whether something that is to go into the image is not there.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Source { source, .. } => {
                source.kind() == io::ErrorKind::NotFound
            }
            _ => false,
        }
    }
}

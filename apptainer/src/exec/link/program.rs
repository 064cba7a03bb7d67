//! The agent's program, and how it is brought into a container.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use apptainer_sys::process::{Content, sealed_file};

/// The program, for this machine; none for processors that there is none for.
#[cfg(has_agent)]
pub(super) const PROGRAM: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/agent")));
#[cfg(not(has_agent))]
pub(super) const PROGRAM: Option<&[u8]> = None;

/// What a container gets the program as: a descriptor, so that nothing is bound or
/// copied into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Carrier {
    /// A file in memory.
    Memory,
    /// A file on disk that has no name any more, where files in memory may not be run.
    File,
}

impl Carrier {
    /// In the order in which they are tried.
    pub(super) const ALL: [Self; 2] = [Self::Memory, Self::File];

    /// The program as such a file, open for reading.
    pub(super) fn program(self) -> io::Result<OwnedFd> {
        let unsupported = || {
            let reason = "there is no agent for this processor";
            io::Error::new(io::ErrorKind::Unsupported, reason)
        };
        let program = PROGRAM.ok_or_else(unsupported)?;
        match self {
            Self::Memory => sealed_file(Content::Program, program),
            Self::File => file(program),
        }
    }
}

fn file(program: &[u8]) -> io::Result<OwnedFd> {
    let mut written = tempfile::NamedTempFile::new()?;
    written.write_all(program)?;
    let permissions = std::fs::Permissions::from_mode(0o500);
    written.as_file().set_permissions(permissions)?;
    // A file that is open for writing is not run.
    let path = written.into_temp_path();
    let program = File::options().read(true).mode(0o0).open(&path)?;
    path.close()?;
    Ok(program.into())
}

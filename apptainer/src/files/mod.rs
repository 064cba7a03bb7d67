//! Files in containers: reading, writing, listing and removing them, and copying them in and out.
//!
//! ```no_run
//! # async fn example(service: apptainer::instance::Service) -> Result<(), Box<dyn std::error::Error>> {
//! let files = service.files();
//! files.upload("project", "/workspace/project").await?;
//! let source = files.read("/workspace/project/main.py").await?;
//! files.write("/workspace/project/main.py", [&source[..], b"\nmain()\n"].concat()).await?;
//! for entry in files.list("/workspace").await? {
//!     println!("{:?} is a {}", entry.name, entry.kind);
//! }
//! files.download("/workspace/project", "results").resume(true).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A server in the container does what concerns names, as the container's user and with what is
//! mounted there, and hands the files over as descriptors: their bytes pass through nobody. It is
//! the agent that starts commands there, in another role: nothing has to be in the image.
//!
//! # Limitations
//!
//! - It takes an agent, and descriptors: there are no files [over a
//!   stream](crate::Link::over), nor where each command takes an `apptainer exec`.
//! - What is copied belongs to the container's user, or the host's. Set-user-ID, set-group-ID and
//!   sticky bits, extended attributes and ACLs are left behind; a file with several names is
//!   copied several times, and holes are filled.
//! - What a program has not finished on the host when it is killed outright stays there, as
//!   `.apptainer-` and some letters: a directory that was to be new, and a file where the file
//!   system knows none without a name. In the container nothing stays, unless that is killed, too.

mod error;
mod file;
mod metadata;
mod names;
mod place;
mod read;
mod server;
mod session;
mod transfer;
mod write;

use std::path::Path;
use std::sync::Arc;

pub use error::{FilesError, Location};
pub use file::File;
pub use metadata::{Entry, Kind, Metadata};
pub use transfer::{Download, Progress, Report, Skipped, SpecialFiles, Upload};
pub use write::Write;

use crate::Link;
use crate::exec::Way;
use session::Remote;

/// The files of a container: of a [`Service`](crate::instance::Service::files), an
/// [`Instance`](crate::Instance::files) or a [`Link`](crate::Link::files).
///
/// A handle: cheap to clone. Paths are the container's; those that do not begin with a slash begin
/// where commands there do. A server is started with what is done first, and again where one was
/// lost; more are for what is done at a time.
///
/// All futures are cancel-safe: dropped, what was there before is whole, and what was not finished
/// is taken away, at the latest before the next thing is done by the same handle.
#[derive(Debug, Clone)]
pub struct Files {
    servers: Arc<server::Servers>,
    /// Where paths begin that do not begin with a slash, if that is not where commands do.
    directory: Option<Arc<Path>>,
}

impl Files {
    pub(crate) fn new(way: Way) -> Self {
        Self {
            servers: Arc::new(server::Servers::new(way)),
            directory: None,
        }
    }

    /// The same, of which paths begin in this directory, an absolute path.
    pub(crate) fn beginning_in(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// A path as the container has it.
    fn remote(&self, path: impl AsRef<Path>) -> Result<Remote, FilesError> {
        let path = path.as_ref();
        match &self.directory {
            Some(directory) if !path.as_os_str().is_empty() => Remote::new(directory.join(path)),
            _ => Remote::new(path),
        }
    }
}

impl Link {
    /// The files in the container. Keep it: each has file servers of its own.
    ///
    /// It keeps the link from ending, as commands do. [Over a stream](Self::over) there are
    /// [none](FilesError::Unsupported).
    pub fn files(&self) -> Files {
        Files::new(self.way())
    }
}

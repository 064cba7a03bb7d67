//! How links are made.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use apptainer_sys::command::ActionOptions;

use super::Link;
use super::launch::launch;
use super::socket::Listening;
use crate::container::Container;
use crate::exec::{ExecError, Place};
use crate::{Apptainer, Instance};

/// What becomes of a link's commands when their caller goes away: by ending, however it
/// ends, or by closing its last handle of the link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnDisconnect {
    /// They are killed, with all that they started, and the agent ends.
    #[default]
    Kill,
    /// They go on, and so does the agent, until somebody [closes](Link::close) the link. It is
    /// found again at this path, by [`Link::attach`]: a socket that is made here, in a
    /// directory that nobody else may enter. A directory that is not there is made so.
    ///
    /// What such a command writes to a pipe breaks it once nobody is there to read: give it
    /// files. A [`Child`](crate::Child) that is dropped is still killed, unless
    /// [`kill_on_drop`](crate::Command::kill_on_drop) says otherwise.
    Detach(PathBuf),
}

/// A link that is made when this is awaited.
#[derive(Debug)]
#[must_use = "a link is made when its builder is awaited"]
pub struct LinkBuilder {
    place: Arc<Place>,
    on_disconnect: OnDisconnect,
}

impl LinkBuilder {
    fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            on_disconnect: OnDisconnect::Kill,
        }
    }

    /// What becomes of its commands when this program goes away. They are killed by default.
    pub fn on_disconnect(mut self, on_disconnect: OnDisconnect) -> Self {
        self.on_disconnect = on_disconnect;
        self
    }

    /// Changes what Apptainer is told by flags: for an instance that is joined, what its
    /// commands get, as in `apptainer exec --no-privs instance://NAME`.
    pub fn flags(mut self, set: impl FnOnce(&mut ActionOptions)) -> Self {
        set(&mut Arc::make_mut(&mut self.place).settings.action);
        self
    }

    async fn make(self) -> Result<Link, ExecError> {
        let listening = match &self.on_disconnect {
            OnDisconnect::Kill => None,
            OnDisconnect::Detach(path) => Some(Listening::at(path)?),
        };
        Ok(Link::new(launch(&self.place, listening).await?))
    }
}

impl IntoFuture for LinkBuilder {
    type Output = Result<Link, ExecError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.make())
    }
}

impl Container {
    /// Makes a container for commands.
    ///
    /// Unlike those of [`command`](Self::command) they share it: its processes, its
    /// `/tmp`, its writable layer. Their environment and working directory are what an
    /// `apptainer exec` would have given them when the link was made.
    ///
    /// Dropping the future ends what has been started.
    pub fn link(&self) -> LinkBuilder {
        LinkBuilder::new(Arc::new(self.place()))
    }
}

impl Instance {
    /// Makes a link of its own to the instance, besides that which its commands share.
    ///
    /// For what [goes on](OnDisconnect::Detach) without this program; though the instance
    /// itself ends when it is dropped.
    pub fn link(&self) -> LinkBuilder {
        LinkBuilder::new(Arc::clone(self.slot().place()))
    }
}

impl Apptainer {
    /// Makes a link to an instance of this user's, whoever started it.
    ///
    /// Its commands have the environment that an `apptainer exec instance://NAME` would
    /// give them. That there is no such instance is an
    /// [`InstanceNotFound`](crate::sys::exit::FailureKind::InstanceNotFound).
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let apptainer = apptainer::Apptainer::discover().await?;
    /// let link = apptainer.link_instance("database").await?;
    /// let status = link.command("pg_isready").status().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn link_instance(&self, name: impl AsRef<str>) -> LinkBuilder {
        LinkBuilder::new(Arc::new(Place {
            client: self.clone(),
            image: format!("instance://{}", name.as_ref()).into(),
            settings: crate::container::Settings::default(),
            uses: None,
        }))
    }
}

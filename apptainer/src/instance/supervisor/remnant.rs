//! What is left of an instance in the end, and taking it away.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::journal::Journal;
use super::room::Room;
use crate::instance::limits::Site;
use crate::instance::processes::Processes;
use crate::instance::remains::Remains;
use crate::instance::state::{Chronicle, State, Stopped};
use crate::lock::FileLock;
use crate::{Apptainer, Image};

/// How long processes that end by themselves may take to be gone. A starting `apptainer` waits
/// ten times as long before it does, for nothing.
const BY_ITSELF: Duration = Duration::from_millis(10);

/// How long processes that were killed may take.
const KILLED: Duration = Duration::from_secs(10);

/// All that there is of an instance outside of it. Dropped before it was [cleared](Self::clear),
/// one of ours is cleared by a thread of its own, killed where it still runs.
#[derive(Debug)]
pub(super) struct Remnant {
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    id: String,
    client: Apptainer,
    /// Where it is noted, with what it has on this node; `None` of one that somebody else started.
    own: Option<(Arc<Journal>, Room)>,
    /// Where what is around it is.
    site: Option<Site>,
    remains: Remains,
    /// The name's, while it is being started.
    starting: Option<FileLock>,
    /// What runs of it, once that is known.
    processes: Option<Arc<Processes>>,
    /// Told when it is cleared by being dropped.
    chronicle: Option<Chronicle>,
    /// Whether its name is another's, whose record and logs are not to be touched.
    is_anothers: bool,
    /// Not to be taken away meanwhile.
    image: Option<Image>,
}

/// How much is known of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It has ended, but for what may take a moment.
    Ended,
    /// Nothing.
    Nothing,
}

impl Remnant {
    pub(super) fn new(
        id: &str,
        client: &Apptainer,
        own: Option<(&Arc<Journal>, Room)>,
        remains: Remains,
        image: Option<Image>,
    ) -> Self {
        Self {
            parts: Some(Parts {
                id: id.to_owned(),
                client: client.clone(),
                own: own.map(|(journal, room)| (Arc::clone(journal), room)),
                site: None,
                remains,
                starting: None,
                processes: None,
                chronicle: None,
                is_anothers: false,
                image,
            }),
        }
    }

    /// Of what is not there.
    pub(super) fn nothing() -> Self {
        Self { parts: None }
    }

    /// What is ended when it is dropped, and who is told of that.
    pub(super) fn is_watched(&mut self, processes: Arc<Processes>, chronicle: Chronicle) {
        if let Some(parts) = &mut self.parts {
            parts.processes = Some(processes);
            parts.chronicle = Some(chronicle);
        }
    }

    /// The file or directory of its image.
    pub(super) fn image(&self) -> Option<&Path> {
        let image = self.parts.as_ref()?.image.as_ref()?;
        Some(image.sif().unwrap_or(image.path()))
    }

    /// Keeps the name from others until it has been started, or nothing is left of it.
    pub(super) fn keep_name(&mut self, lock: FileLock) {
        if let Some(parts) = &mut self.parts {
            parts.starting = Some(lock);
        }
    }

    /// What is around it is made here.
    pub(super) fn is_enclosed_at(&mut self, site: Option<Site>) {
        if let Some(parts) = &mut self.parts {
            parts.site = site;
        }
    }

    /// It runs, and is found by its name: gives up what kept that from others.
    pub(super) fn give_name_up(&mut self) -> Option<FileLock> {
        self.parts.as_mut()?.starting.take()
    }

    /// Whether an instance of its name was started by somebody else.
    pub(super) fn name_is_anothers(&mut self, is_anothers: bool) {
        if let Some(parts) = &mut self.parts {
            parts.is_anothers = is_anothers;
        }
    }

    /// Sees to it that nothing is left, and says whether that is so. Blocks.
    pub(super) fn clear(&mut self, known: Known) -> io::Result<bool> {
        let Some(parts) = &mut self.parts else {
            return Ok(true);
        };
        if !parts.clear(known)? {
            return Ok(false);
        }
        self.parts = None;
        Ok(true)
    }

    /// Leaves all as it is.
    pub(super) fn leave(&mut self) {
        self.parts = None;
    }
}

impl Parts {
    fn clear(&mut self, known: Known) -> io::Result<bool> {
        if let Some((_, room)) = &self.own {
            let is_gone = known == Known::Ended && room.wait(BY_ITSELF)?;
            if !is_gone {
                // What is frozen ends in no other way.
                self.clear_enclosure();
                if !room.kill(KILLED)? {
                    return Ok(false);
                }
            }
        }
        if let Some(site) = &self.site {
            site.clear().map_err(io::Error::other)?;
        }
        match &self.starting {
            _ if self.is_anothers => {}
            Some(_lock) => self.remains.clear_locked(),
            None => self.remains.clear(self.client.config_dir()),
        }
        if let Some((journal, room)) = &self.own {
            room.remove()?;
            journal.strike(&self.id)?;
        }
        self.starting = None;
        Ok(true)
    }

    /// Ends what is known to run, so that not all processes of the machine are searched for it,
    /// as takes long where many are dropped at once. Blocks.
    fn end(&self) -> Known {
        let Some(processes) = &self.processes else {
            return Known::Nothing;
        };
        // What is frozen ends in no other way.
        self.clear_enclosure();
        match processes.end_blocking() {
            Ok(()) => Known::Ended,
            Err(error) => {
                tracing::debug!(%error, id = self.id, "cannot end an instance by what is known of it");
                Known::Nothing
            }
        }
    }

    fn clear_enclosure(&self) {
        let cleared = self.site.as_ref().map(Site::clear);
        if let Some(Err(error)) = cleared {
            tracing::warn!(%error, id = self.id, "cannot remove what was around an instance");
        }
    }
}

impl Drop for Remnant {
    fn drop(&mut self) {
        let Some(mut parts) = self.parts.take() else {
            return;
        };
        if parts.own.is_none() {
            // What somebody else started goes on, and nobody tells of it.
            if let Some(chronicle) = &parts.chronicle {
                chronicle.close();
            }
            return;
        }
        let enter = |parts: &Parts, state| {
            if let Some(chronicle) = &parts.chronicle {
                chronicle.enter(state);
            }
        };
        enter(&parts, State::Stopping);
        // At once, for this program may end before a thread of its does anything.
        if let Some(Err(error)) = parts.processes.as_ref().map(|processes| processes.kill()) {
            tracing::warn!(%error, id = parts.id, "cannot kill a dropped instance");
        }
        let clear = move || match parts.clear(parts.end()) {
            Ok(true) => {
                let stopped = Stopped {
                    was_asked: true,
                    ..Stopped::default()
                };
                enter(&parts, State::Stopped(stopped));
            }
            Ok(false) => {
                tracing::warn!(id = parts.id, "an instance that was killed is still there");
            }
            Err(error) => tracing::warn!(%error, id = parts.id, "cannot clear an instance up"),
        };
        let thread = std::thread::Builder::new().name("apptainer-dropper".into());
        // Where no thread can be had, the next supervisor finds it noted.
        if let Err(error) = thread.spawn(clear) {
            tracing::warn!(%error, "cannot start the thread that clears dropped instances up");
        }
    }
}

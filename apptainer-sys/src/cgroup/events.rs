//! What happens to a group.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::{Cgroup, CgroupError, Controller, file};

/// Something that happened to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It has processes now, or no longer.
    Populated(bool),
    /// It is frozen now, or no longer.
    Frozen(bool),
    /// Processes of it were killed for want of memory.
    OutOfMemory {
        /// How many since the event before.
        kills: u64,
    },
}

/// What happens to a group, as it happens.
///
/// The descriptor is readable when there may be something to
/// [read](Self::try_next). Populated and frozen are version 2's to tell; memory is
/// told of where a controller counts it.
#[derive(Debug)]
pub struct Events {
    group: Cgroup,
    known: State,
    waiting: VecDeque<Event>,
    /// Of the two below.
    ready: Epoll,
    files: Inotify,
    oom: Option<EventFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    populated: Option<bool>,
    frozen: Option<bool>,
    oom_kills: u64,
}

impl Cgroup {
    /// What happens to it from now on.
    pub fn events(&self) -> Result<Events, CgroupError> {
        Events::of(self)
    }

    fn state(&self) -> Result<State, CgroupError> {
        let events = match self.unified() {
            Some(folder) => file::Keyed::read(folder, "cgroup.events")?,
            None => None,
        };
        let flag = |name| Some(events.as_ref()?.get(name)? == 1);
        let oom = match (self.legacy(Controller::Memory), self.unified()) {
            (Some(folder), _) => file::Keyed::read(folder, "memory.oom_control")?,
            (None, Some(folder)) => file::Keyed::read(folder, "memory.events")?,
            (None, None) => None,
        };
        Ok(State {
            // A group that has been removed had nobody in it.
            populated: flag("populated").or(self.unified().map(|_| false)),
            frozen: flag("frozen"),
            oom_kills: oom.and_then(|oom| oom.get("oom_kill")).unwrap_or(0),
        })
    }
}

impl Events {
    fn of(group: &Cgroup) -> Result<Self, CgroupError> {
        let failed = |source: nix::Error| CgroupError::Io {
            doing: "watch",
            path: group.path().to_owned(),
            source: source.into(),
        };
        let files =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let ready = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let readable = EpollEvent::new(EpollFlags::EPOLLIN, 0);
        ready.add(&files, readable).map_err(failed)?;
        if let Some(folder) = group.unified() {
            for name in ["cgroup.events", "memory.events"] {
                match files.add_watch(&folder.join(name), AddWatchFlags::IN_MODIFY) {
                    // Without the controller there is no such file.
                    Ok(_) | Err(nix::Error::ENOENT) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        let oom = match group.legacy(Controller::Memory) {
            Some(folder) => Some(watch_oom_v1(folder)?),
            None => None,
        };
        if let Some(oom) = &oom {
            ready.add(oom, readable).map_err(failed)?;
        }
        Ok(Self {
            known: group.state()?,
            group: group.clone(),
            waiting: VecDeque::new(),
            ready,
            files,
            oom,
        })
    }

    /// The next event, if something has happened. Does not wait.
    pub fn try_next(&mut self) -> Result<Option<Event>, CgroupError> {
        if self.waiting.is_empty() {
            self.drain();
            let state = self.group.state()?;
            let before = std::mem::replace(&mut self.known, state);
            let changed = |now: Option<bool>, before| now.filter(|_| now != before);
            let kills = state.oom_kills.saturating_sub(before.oom_kills);
            let oom = (kills > 0).then_some(Event::OutOfMemory { kills });
            self.waiting.extend(oom);
            self.waiting
                .extend(changed(state.frozen, before.frozen).map(Event::Frozen));
            self.waiting
                .extend(changed(state.populated, before.populated).map(Event::Populated));
        }
        Ok(self.waiting.pop_front())
    }

    /// The next event, for which it waits, at most for `limit`.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Option<Event>, CgroupError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            self.wait(left).map_err(|source| CgroupError::Io {
                doing: "watch",
                path: self.group.path().to_owned(),
                source,
            })?;
        }
    }

    fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        // Rounded up, so that the last wait is not a busy one.
        let millis = limit.map(|limit| limit.as_micros().div_ceil(1000));
        let timeout = millis.map_or(PollTimeout::NONE, |millis| {
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the descriptor unreadable until something happens again.
    fn drain(&self) {
        // What they hold is only that something has happened; the files say what.
        let _ = self.files.read_events();
        if let Some(oom) = &self.oom {
            let _ = oom.read();
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

/// Has the kernel tell of a want of memory in a group of version 1.
fn watch_oom_v1(folder: &Path) -> Result<EventFd, CgroupError> {
    let failed = |source| CgroupError::Io {
        doing: "watch",
        path: folder.to_owned(),
        source,
    };
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let oom = EventFd::from_flags(flags).map_err(|error| failed(error.into()))?;
    let control = fs::File::open(folder.join("memory.oom_control")).map_err(failed)?;
    let order = format!("{} {}", oom.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(folder, "cgroup.event_control", &order)?;
    Ok(oom)
}

//! What happens to a group.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::{Cgroup, CgroupError, Controller, file};
use crate::deadline::Deadline;

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
/// told of where a controller counts it, by version 1 without the groups below.
#[derive(Debug)]
pub struct Events {
    group: Cgroup,
    known: State,
    waiting: VecDeque<Event>,
    /// Of all below.
    ready: Epoll,
    files: Inotify,
    oom: Option<OomV1>,
}

/// Version 1 tells of a want of memory before it kills and counts, so the count is
/// looked at again for a while.
#[derive(Debug)]
struct OomV1 {
    told: EventFd,
    again: TimerFd,
    looks: u32,
}

impl OomV1 {
    const PAUSE: Duration = Duration::from_millis(10);
    const LOOKS: u32 = 100;

    /// Takes note of what has been told.
    fn drain(&mut self) -> nix::Result<()> {
        // It holds only that something has happened; the count says what.
        if self.told.read().is_ok() {
            self.looks = Self::LOOKS;
        }
        self.looks = self.looks.saturating_sub(1);
        if self.looks > 0 {
            let once = Expiration::OneShot(TimeSpec::from_duration(Self::PAUSE));
            self.again.set(once, TimerSetTimeFlags::empty())
        } else {
            self.again.unset()
        }
    }
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
            // The root of the hierarchy does not say; a group that has been removed had
            // nobody in it.
            populated: flag("populated").or_else(|| self.unified().map(Path::exists)),
            frozen: flag("frozen"),
            oom_kills: oom.and_then(|oom| oom.get("oom_kill")).unwrap_or(0),
        })
    }
}

impl Events {
    fn of(group: &Cgroup) -> Result<Self, CgroupError> {
        let failed = failed(group.path());
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
            Some(folder) => {
                let told = watch_oom_v1(folder)?;
                let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
                let again = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(failed)?;
                ready.add(&told, readable).map_err(failed)?;
                ready.add(&again, readable).map_err(failed)?;
                Some(OomV1 {
                    told,
                    again,
                    looks: 0,
                })
            }
            None => None,
        };
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
            // What it holds is only that something has happened; the files say what.
            let _ = self.files.read_events();
            let state = self.group.state()?;
            let before = std::mem::replace(&mut self.known, state);
            let changed = |now: Option<bool>, before| now.filter(|_| now != before);
            let kills = state.oom_kills.saturating_sub(before.oom_kills);
            if let Some(oom) = &mut self.oom {
                oom.drain().map_err(failed(self.group.path()))?;
            }
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
        let deadline = Deadline::after_if(limit);
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            if deadline.has_passed() {
                return Ok(None);
            }
            let mut polled = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, deadline.poll_timeout()) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(failed(self.group.path())(error)),
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.0.as_fd()
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ready.0.as_raw_fd()
    }
}

/// What went wrong in watching a group.
fn failed<E: Into<io::Error>>(folder: &Path) -> impl Fn(E) -> CgroupError + Copy {
    move |error: E| CgroupError::Io {
        doing: "watch",
        path: folder.to_owned(),
        source: error.into(),
    }
}

/// Has the kernel tell of a want of memory in a group of version 1.
fn watch_oom_v1(folder: &Path) -> Result<EventFd, CgroupError> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let oom = EventFd::from_flags(flags).map_err(failed(folder))?;
    let control = fs::File::open(folder.join("memory.oom_control")).map_err(failed(folder))?;
    let order = format!("{} {}", oom.as_fd().as_raw_fd(), control.as_raw_fd());
    file::write(folder, "cgroup.event_control", &order)?;
    Ok(oom)
}

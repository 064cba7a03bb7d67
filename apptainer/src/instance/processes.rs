//! The processes of an instance, from outside.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use apptainer_sys::process::{Member, Pid, PidFd, Process, Signal, State, Tree};
use apptainer_sys::state::instance::{Held, Record};

use crate::mountinfo::Mount;
use crate::process::{Ended, INIT};

/// How long an instance may take to be gone once it has been killed: unmounting
/// a FUSE file system takes Apptainer up to two seconds.
const CLEAN_UP: Duration = Duration::from_secs(4);

/// What keeps a container going: Apptainer's first process, and our agents.
const KEEPERS: [&str; 2] = [INIT, "apptainer-agent"];

/// The two processes that an instance stands and falls with, held so that their
/// pids cannot come to mean others.
#[derive(Debug, Clone)]
pub(super) struct Processes {
    /// The first process in the container. In a PID namespace it takes all others
    /// with it.
    payload: Arc<PidFd>,
    payload_pid: Pid,
    /// Its parent on the host, which then cleans up and removes the record.
    master: Arc<PidFd>,
    master_pid: Pid,
}

impl Processes {
    /// Those of the instance that a record tells of; `None` when it does not run.
    pub(super) fn of(record: &Record) -> io::Result<Option<Self>> {
        let held = record.hold()?;
        Ok(held.map(|Held { payload, master }| Self {
            payload: Arc::new(payload),
            payload_pid: record.pid,
            master: Arc::new(master),
            master_pid: record.master,
        }))
    }

    /// Those of a single process, which is both.
    #[cfg(test)]
    pub(super) fn of_test(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            payload: Arc::new(PidFd::open(pid)?),
            payload_pid: pid,
            master: Arc::new(PidFd::open(pid)?),
            master_pid: pid,
        })
    }

    pub(super) fn payload_pid(&self) -> Pid {
        self.payload_pid
    }

    pub(super) fn has_ended(&self) -> io::Result<bool> {
        self.master.has_ended()
    }

    /// Tell when the first process has ended, and when its parent has. For one that keeps them.
    pub(super) fn both_ended(&self) -> io::Result<[Ended; 2]> {
        let first = Ended::sharing(Arc::clone(&self.payload))?;
        Ok([first, Ended::sharing(Arc::clone(&self.master))?])
    }

    /// What serves the container's file system, held. Reads the table of processes.
    pub(super) fn servers(&self) -> io::Result<Vec<Member>> {
        let mut session = self.session()?;
        session.retain(|member| {
            member.process.parent == self.master_pid && member.process.pid != self.payload_pid
        });
        Ok(session)
    }

    /// How many file systems there are of programs that Apptainer has started for the container,
    /// whether or not those still run.
    pub(super) fn served(&self) -> usize {
        // There are none of one that has ended, and those of another user's may not be seen.
        let mounts = |pid| fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let theirs = mounts(self.master_pid.to_string());
        // The others are there for all.
        let ours = mounts("self".to_owned());
        let devices = |mounts| -> HashSet<&str> {
            let served = Mount::all(mounts).filter(|mount| mount.kind.starts_with("fuse."));
            served.map(|mount| mount.device).collect()
        };
        devices(&theirs).difference(&devices(&ours)).count()
    }

    /// Tells when what the container runs has ended: what Apptainer's first process has started,
    /// or that process, where it is not Apptainer's.
    pub(super) fn main_ended(&self) -> io::Result<Option<Ended>> {
        let members = self.members()?;
        let is_init = |member: &Member| member.process.name == INIT;
        let first = members.first().filter(|first| !is_init(first));
        let child = || {
            let mut members = members.iter();
            members.find(|member| member.process.parent == self.payload_pid)
        };
        let main = first.or_else(child);
        main.map(|main| Ended::of(&main.pidfd)).transpose()
    }

    /// Whether a process is the first in the container, or a child of that; `None` where it is no
    /// more.
    pub(super) fn has_first(&self, pid: Pid) -> io::Result<Option<bool>> {
        let process = Process::read(pid)?;
        let is_it =
            |process: Process| pid == self.payload_pid || process.parent == self.payload_pid;
        Ok(process.map(is_it))
    }

    /// Whether the first process in the container has ended, and its pid may be another's.
    pub(super) fn has_payload_ended(&self) -> io::Result<bool> {
        self.payload.has_ended()
    }

    /// The process that ends last.
    pub(super) fn last(&self) -> &PidFd {
        &self.master
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        self.payload.signal(Signal::KILL)
    }

    /// Sends a signal to all that runs in the container, but for what only keeps it going, and
    /// waits until it has ended; says whether it has within this time.
    pub(super) async fn ask_to_end(&self, signal: Signal, limit: Duration) -> io::Result<bool> {
        let mut asked = self.members()?;
        asked.retain(|member| !is_keeper(&member.process));
        for member in &asked {
            member.pidfd.signal(signal)?;
        }
        let all = async {
            for member in &asked {
                if !member.pidfd.has_ended()? {
                    Ended::of(&member.pidfd)?.wait().await?;
                }
            }
            Ok(true)
        };
        tokio::time::timeout(limit, all).await.unwrap_or(Ok(false))
    }

    /// Kills the container, and waits until its parent has cleaned up behind it, which is killed
    /// where it does not; says whether all of it is gone.
    pub(super) async fn kill_all(&self) -> io::Result<bool> {
        let ended = Ended::of(&self.master)?;
        let session = self.session()?;
        self.kill()?;
        self.await_end(&ended, &session).await
    }

    /// TERM, grace, KILL; says whether all of it is gone.
    pub(super) async fn end(&self, grace: Duration) -> io::Result<bool> {
        let ended = Ended::of(&self.master)?;
        let session = self.session()?;
        self.payload.signal(Signal::TERM)?;
        if tokio::time::timeout(grace, ended.wait()).await.is_err() {
            self.kill()?;
        }
        self.await_end(&ended, &session).await
    }

    async fn await_end(&self, master: &Ended, session: &[Member]) -> io::Result<bool> {
        if tokio::time::timeout(CLEAN_UP, master.wait()).await.is_err() {
            self.master.signal(Signal::KILL)?;
            if tokio::time::timeout(CLEAN_UP, master.wait()).await.is_err() {
                return Ok(false);
            }
        }
        sweep(session)?;
        Ok(true)
    }

    /// KILL, and waiting for the end where there is no runtime to wait in.
    pub(super) fn end_blocking(&self) -> io::Result<()> {
        let session = self.session()?;
        self.kill()?;
        if !self.master.wait_ended(Some(CLEAN_UP))? {
            self.master.signal(Signal::KILL)?;
            self.master.wait_ended(Some(CLEAN_UP))?;
        }
        sweep(&session)
    }

    /// What runs in the container now, held: the first process, and all below it. Reads the
    /// table of processes.
    pub(super) fn members(&self) -> io::Result<Vec<Member>> {
        let tree = Tree::below(self.payload_pid)?;
        let first = Process::read(self.payload_pid)?;
        let pidfd = self.payload.try_clone()?;
        if self.payload.has_ended()? {
            // The pid may have been another's when the table was read.
            return Ok(Vec::new());
        }
        let first = first.map(|process| Member { process, pidfd });
        Ok(first.into_iter().chain(tree.into_members()).collect())
    }

    /// What runs in the container now, held, with what has joined it by `apptainer exec` and is
    /// below another process on the host. Reads the table of processes.
    pub(super) fn inhabitants(&self) -> io::Result<Vec<Member>> {
        let mut inhabitants = self.members()?;
        let Some(namespace) = pid_namespace(self.payload_pid) else {
            return Ok(inhabitants);
        };
        // Without one of its own, everybody would be in it.
        if self.payload.has_ended()? || pid_namespace(own_pid()) == Some(namespace.clone()) {
            return Ok(inhabitants);
        }
        let mut known: HashSet<Pid> = inhabitants.iter().map(|one| one.process.pid).collect();
        let mut joined = Process::all()?;
        joined.retain(|process| {
            !known.contains(&process.pid)
                && process.state != State::Zombie
                && pid_namespace(process.pid).as_ref() == Some(&namespace)
        });
        let all_joined: HashSet<Pid> = joined.iter().map(|process| process.pid).collect();
        for process in joined {
            // What is below another of them is found with that one.
            if all_joined.contains(&process.parent) {
                continue;
            }
            let below = Tree::below(process.pid)?.into_members();
            let new = hold(process)?.into_iter().chain(below);
            inhabitants.extend(new.filter(|member| known.insert(member.process.pid)));
        }
        Ok(inhabitants)
    }

    /// What of it stands still while it is paused: not Apptainer's first process, which takes a
    /// `SIGCONT` for its end, and does nothing but wait.
    pub(super) fn members_to_halt(&self) -> io::Result<Vec<Member>> {
        let mut members = self.inhabitants()?;
        members
            .retain(|member| member.process.pid != self.payload_pid || member.process.name != INIT);
        Ok(members)
    }

    /// What is in the master's session, held: the FUSE programs that serve the
    /// container are, and a master that is killed leaves them.
    fn session(&self) -> io::Result<Vec<Member>> {
        let tree = Tree::below(self.master_pid)?;
        if self.master.has_ended()? {
            // The pid may have been another's when the tree was read.
            return Ok(Vec::new());
        }
        let is_in = |member: &Member| member.process.session == self.master_pid;
        Ok(tree.into_members().into_iter().filter(is_in).collect())
    }
}

/// Whether all that it does is to keep its container going. What runs in there may call itself
/// the same.
pub(super) fn is_keeper(process: &Process) -> bool {
    KEEPERS.contains(&process.name.as_str())
}

/// The process, held; `None` when it has ended.
fn hold(process: Process) -> io::Result<Option<Member>> {
    let Ok(pidfd) = PidFd::open(process.pid) else {
        return Ok(None);
    };
    // The pid may have passed to another process since it was read.
    let still = Process::read(process.pid)?;
    let is_same = still.is_some_and(|now| now.started == process.started);
    Ok(is_same.then_some(Member { process, pidfd }))
}

/// `None` for what has ended, and for what the caller may not look at.
fn pid_namespace(pid: Pid) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok()
}

fn own_pid() -> Pid {
    nix::unistd::getpid().as_raw()
}

fn sweep(session: &[Member]) -> io::Result<()> {
    for member in session {
        member.pidfd.signal(Signal::KILL)?;
    }
    Ok(())
}

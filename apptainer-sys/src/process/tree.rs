//! All that a process started.

use std::collections::{HashMap, HashSet};
use std::io;

use super::{Pid, PidFd, Process, Signal};

/// A process below another, held so that it can be signalled safely.
#[derive(Debug)]
pub struct Member {
    /// What it was when it was found.
    pub process: Process,
    /// The process itself.
    pub pidfd: PidFd,
}

/// The processes below a root: its descendants, and whatever else is in the
/// session that it leads.
///
/// The session finds processes whose parents have ended. What both left the
/// session and lost its parent is not found; only a cgroup finds that.
#[derive(Debug)]
pub struct Tree {
    root: Pid,
    members: Vec<Member>,
}

impl Tree {
    /// What is below `root` now, without `root` itself and without zombies.
    pub fn below(root: Pid) -> io::Result<Self> {
        let mut tree = Self {
            root,
            members: Vec::new(),
        };
        tree.extend()?;
        Ok(tree)
    }

    /// What is below `root`, halted, so that it starts nothing more.
    ///
    /// Halts what it finds and looks again until nothing new is there. What
    /// cannot be signalled is left as it is.
    pub fn halted_below(root: Pid) -> io::Result<Self> {
        // Each round halts everything found so far, so only a process that forks
        // faster than the table is read takes more than a few.
        const ROUNDS: usize = 64;
        let mut tree = Self {
            root,
            members: Vec::new(),
        };
        for _ in 0..ROUNDS {
            let known = tree.members.len();
            tree.extend()?;
            if tree.members.len() == known {
                break;
            }
            for member in &tree.members[known..] {
                let _ = member.pidfd.signal(Signal::STOP);
            }
        }
        Ok(tree)
    }

    /// The processes, parents before their children.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The same, to keep.
    pub fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// Adds what is new; says nothing of what has ended.
    fn extend(&mut self) -> io::Result<()> {
        let table = Process::all()?;
        let mut known: HashSet<Pid> = self
            .members
            .iter()
            .map(|member| member.process.pid)
            .collect();
        for process in below(self.root, table) {
            if !known.insert(process.pid) {
                continue;
            }
            let Ok(pidfd) = PidFd::open(process.pid) else {
                continue;
            };
            // The pid may have passed to another process since the table was read.
            let still = Process::read(process.pid)?;
            if still.is_some_and(|now| now.started == process.started) {
                self.members.push(Member { process, pidfd });
            }
        }
        Ok(())
    }
}

fn below(root: Pid, table: Vec<Process>) -> Vec<Process> {
    let mut by_parent: HashMap<Pid, Vec<Process>> = HashMap::new();
    let mut wanted = Vec::new();
    let mut next = vec![root];
    let mut found = Vec::new();
    for process in table {
        if process.state == super::State::Zombie || process.pid == root {
            continue;
        }
        if process.session == root {
            wanted.push(process.pid);
        }
        by_parent.entry(process.parent).or_default().push(process);
    }
    while let Some(parent) = next.pop() {
        for process in by_parent.remove(&parent).unwrap_or_default() {
            next.push(process.pid);
            found.push(process);
        }
    }
    for process in by_parent.into_values().flatten() {
        if wanted.contains(&process.pid) {
            found.push(process);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{Session, Spawn, Stdio};

    fn shell(script: &str) -> crate::process::Child {
        let mut spawn = Spawn::new("/bin/sh");
        spawn
            .args(["-c", script])
            .session(Session::NewSession)
            .stdin(Stdio::Null)
            .stdout(Stdio::pipe());
        let mut child = spawn.spawn().unwrap();
        // One line says that everything has been started.
        let mut line = [0; 1];
        let stdout = std::fs::File::from(child.stdout.take().unwrap());
        std::io::Read::read_exact(&mut &stdout, &mut line).unwrap();
        child
    }

    fn end(mut child: crate::process::Child, tree: &Tree) {
        for member in tree.members() {
            member.pidfd.signal(Signal::KILL).unwrap();
        }
        child.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn children_and_grandchildren_are_below() {
        let child = shell("sh -c 'sleep 60 & echo; wait' & wait");
        let tree = Tree::below(child.pid()).unwrap();
        assert_eq!(tree.members().len(), 2);
        end(child, &tree);
    }

    #[test]
    fn an_orphan_is_found_by_its_session() {
        let child = shell("(sleep 60 & ) ; echo; exec sleep 60");
        let tree = Tree::below(child.pid()).unwrap();
        let orphan = &tree.members()[0].process;
        assert_ne!(orphan.parent, child.pid());
        assert_eq!(orphan.session, child.pid());
        end(child, &tree);
    }

    #[test]
    fn what_is_halted_forks_no_more() {
        let child = shell("(while :; do sleep 0; done) & echo; wait");
        let tree = Tree::halted_below(child.pid()).unwrap();
        let again = Tree::below(child.pid()).unwrap();
        assert_eq!(tree.members().len(), again.members().len());
        let halted = |member: &Member| member.process.state == crate::process::State::Stopped;
        assert!(again.members().iter().all(halted));
        end(child, &tree);
    }
}

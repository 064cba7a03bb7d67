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

    /// A shell that ends with the test, and all that it has started.
    struct Shell(crate::process::Child);

    impl Shell {
        fn run(script: &str) -> Self {
            let mut spawn = Spawn::new("/bin/sh");
            spawn
                .args(["-c", script])
                .session(Session::NewSession)
                .stdin(Stdio::Null)
                .stdout(Stdio::pipe());
            let mut shell = Self(spawn.spawn().unwrap());
            // One byte says that everything has been started.
            let stdout = std::fs::File::from(shell.0.stdout.take().unwrap());
            std::io::Read::read_exact(&mut &stdout, &mut [0]).unwrap();
            shell
        }

        fn pid(&self) -> Pid {
            self.0.pid()
        }
    }

    impl Drop for Shell {
        fn drop(&mut self) {
            let tree = Tree::halted_below(self.pid()).unwrap();
            for member in tree.members() {
                member.pidfd.signal(Signal::KILL).unwrap();
            }
            self.0.signal(Signal::KILL).unwrap();
            self.0.wait().unwrap();
        }
    }

    fn pids(tree: &Tree) -> HashSet<Pid> {
        let members = tree.members().iter();
        members.map(|member| member.process.pid).collect()
    }

    #[test]
    fn children_and_grandchildren_are_below() {
        let shell = Shell::run("sh -c 'sleep 60 & echo; wait' & wait");
        let tree = Tree::below(shell.pid()).unwrap();
        assert_eq!(tree.members().len(), 2);
    }

    #[test]
    fn an_orphan_is_found_by_its_session() {
        let shell = Shell::run("(sleep 60 & ) ; echo; exec sleep 60");
        let tree = Tree::below(shell.pid()).unwrap();
        let orphan = &tree.members()[0].process;
        assert_ne!(orphan.parent, shell.pid());
        assert_eq!(orphan.session, shell.pid());
    }

    #[test]
    fn what_is_halted_forks_no_more() {
        let shell = Shell::run("(while :; do sleep 0; done) & echo; wait");
        let halted = pids(&Tree::halted_below(shell.pid()).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(100));
        // One that was about to end may have done so.
        assert!(pids(&Tree::below(shell.pid()).unwrap()).is_subset(&halted));
    }
}

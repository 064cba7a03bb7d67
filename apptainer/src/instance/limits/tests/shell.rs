//! A shell in place of a container.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::time::{Duration, Instant};

use apptainer_sys::process::{Child, Pid, Process, Session, Signal, Spawn, State, Stdio, Tree};

use super::*;
use crate::instance::processes::Processes;

/// A shell, which does what it is to do when it is told; it ends with the test, and all that
/// it has started.
pub(super) struct Shell {
    child: Child,
    stdin: File,
    stdout: BufReader<File>,
}

impl Shell {
    /// One that has been started in an enclosure, and adopted.
    pub(super) fn within(enclosure: &mut Enclosure, script: &str) -> Self {
        let shell = Self::started(enclosure, script);
        enclosure.adopt(&shell.processes()).unwrap();
        enclosure.watch(&shell.processes()).unwrap();
        shell
    }

    /// One that has not been adopted yet.
    pub(super) fn started(enclosure: &Enclosure, script: &str) -> Self {
        let mut spawn = Spawn::new("/bin/sh");
        // What goes wrong is not to take the machine with it.
        let script = format!("ulimit -v 2000000; echo; read line; {script}");
        spawn
            .args(["-c", &script])
            .session(Session::NewSession)
            .stdin(Stdio::pipe())
            .stdout(Stdio::pipe());
        if let Some(placement) = enclosure.placement().unwrap() {
            spawn.cgroup(placement);
        }
        let mut child = spawn.spawn().unwrap();
        let stdin = File::from(child.stdin.take().unwrap());
        let stdout = BufReader::new(File::from(child.stdout.take().unwrap()));
        let mut shell = Self {
            child,
            stdin,
            stdout,
        };
        shell.line();
        shell
    }

    /// Has it begin.
    pub(super) fn begin(&mut self) {
        self.stdin.write_all(b"\n").unwrap();
    }

    /// The next line that it prints.
    pub(super) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(super) fn processes(&self) -> Processes {
        Processes::of_test(self.child.pid()).unwrap()
    }

    /// What it has started, by name.
    pub(super) fn child(&self, name: &str) -> Process {
        wait_for(|| {
            let tree = Tree::below(self.child.pid()).unwrap();
            let mut members = tree.into_members().into_iter();
            let found = members.find(|member| member.process.name == name);
            found.map(|member| member.process)
        })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // So that it starts nothing more.
        self.child.signal(Signal::STOP).unwrap();
        let tree = Tree::halted_below(self.child.pid()).unwrap();
        for member in tree.members() {
            member.pidfd.signal(Signal::KILL).unwrap();
        }
        self.child.signal(Signal::KILL).unwrap();
        self.child.wait().unwrap();
    }
}

pub(super) fn state(pid: Pid) -> Option<State> {
    Process::read(pid).unwrap().map(|process| process.state)
}

/// Waits for what comes about by itself.
pub(super) fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How much of a CPU's time a process has used, in clock ticks.
pub(super) fn ticks(pid: Pid) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

/// What happens next, which something must.
pub(super) async fn next_event(enclosure: &mut Enclosure) -> EnclosureEvent {
    let next = tokio::time::timeout(Duration::from_secs(30), enclosure.next_event());
    next.await.expect("something happens")
}

/// Holds so many MiB.
pub(super) fn holder(mib: u32) -> String {
    format!("dd if=/dev/zero bs={mib}M count=1 2>&- | sleep 60")
}

//! File systems that do not answer.

use apptainer::sys::process::{Pid, PidFd, Process, Signal};

/// The root file system of a container of ours, whose program is halted: what asks it for
/// something waits. Dropped, it goes on.
#[derive(Debug)]
pub struct Frozen {
    programs: Vec<PidFd>,
}

impl Frozen {
    /// Halts those of all containers that this process has started, in a world where
    /// [such are served](crate::World::serves_images).
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn all() -> Self {
        let me = Pid::try_from(std::process::id()).expect("it is positive");
        let table = Process::all().expect("/proc can be read");
        let parent = |pid: Pid| {
            let found = table.iter().find(|process| process.pid == pid);
            found.map(|process| process.parent)
        };
        let is_ours = |process: &&Process| {
            std::iter::successors(Some(process.pid), |pid| parent(*pid)).any(|pid| pid == me)
        };
        let mounts = |process: &&Process| process.name.starts_with("squashfuse");
        let mounting = table.iter().filter(mounts).filter(is_ours);
        let programs: Vec<_> = mounting
            .map(|process| {
                let program = PidFd::open(process.pid).expect("it runs");
                program.signal(Signal::STOP).expect("it is ours");
                program
            })
            .collect();
        assert!(!programs.is_empty(), "no image is served");
        Self { programs }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for program in &self.programs {
            let _ = program.signal(Signal::CONT);
        }
    }
}

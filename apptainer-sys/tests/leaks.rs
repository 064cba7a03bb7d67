//! What a process that could not be started leaves: nothing. A program of its own,
//! for it counts what the whole process has.

use std::fs;

use apptainer_sys::process::{Mechanism, Process, Spawn, Stdio};

#[test]
fn a_failure_leaves_nothing_open_and_nobody_behind() {
    let me = i32::try_from(std::process::id()).unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let children = || {
        let all = Process::all().unwrap();
        all.iter().filter(|process| process.parent == me).count()
    };
    for way in [Mechanism::Clone3, Mechanism::PosixSpawn] {
        let before = (descriptors(), children());
        for _ in 0..20 {
            let mut spawn = Spawn::new("/nowhere/program");
            spawn
                .mechanism(way)
                .stdin(Stdio::pipe())
                .stdout(Stdio::pipe());
            spawn.spawn().unwrap_err();
        }
        assert_eq!((descriptors(), children()), before, "{way:?}");
    }
}

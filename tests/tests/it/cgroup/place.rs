//! Where a process begins.

use super::*;

#[test]
fn a_process_begins_in_its_group() {
    let Some(group) = Group::new("begin") else {
        return;
    };
    let child = group.shell(TREE);
    assert_eq!(child.mechanism(), process::Mechanism::Clone3);
    let of_child = Cgroup::of_process(child.pid()).unwrap();
    assert_eq!(folders(&of_child), folders(&group));
    let inside = group.processes().unwrap();
    // The shell in between may not have ended yet.
    assert!(inside.len() >= 3, "{inside:?}");
    assert!(inside.contains(&child.pid()));
    end(&group, child);
}

#[test]
fn where_it_cannot_begin_there_a_process_is_moved() {
    let Some(group) = Group::new("move") else {
        return;
    };
    let mut spawn = shell("echo; exec sleep 60");
    spawn
        .cgroup(group.placement().unwrap())
        .mechanism(process::Mechanism::PosixSpawn);
    let placed = ready(spawn);
    let mut moved = ready(shell("echo; exec sleep 60"));
    group.add(moved.pid()).unwrap();
    let mut expected = [placed.pid(), moved.pid()];
    expected.sort_unstable();
    assert_eq!(group.processes().unwrap(), expected);
    end(&group, placed);
    assert_eq!(moved.wait().unwrap(), Exit::Signal(Signal::KILL));
}

#[test]
fn a_program_that_is_not_there_is_told_from_a_group_that_is_not() {
    let Some(group) = Group::new("program") else {
        return;
    };
    let bare = group.create("bare", &[]).unwrap();
    // With a cpuset the child has its own memory, and without one the caller's.
    for group in [&*group, &bare] {
        let mut spawn = Spawn::new("/nowhere/program");
        spawn.cgroup(group.placement().unwrap());
        let error = spawn.spawn().unwrap_err();
        assert_eq!(error.stage, process::SpawnStage::Exec);
        assert_eq!(error.source.kind(), std::io::ErrorKind::NotFound);
        assert!(!group.is_populated().unwrap());
    }
}

#[test]
fn a_group_that_takes_no_processes_is_an_error_before_the_program_runs() {
    let Some(group) = Group::new("gone") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ran");
    let mut spawn = Spawn::new("/bin/touch");
    spawn.args([&file]).cgroup(group.placement().unwrap());
    group.remove().unwrap();
    let error = spawn.spawn().unwrap_err();
    assert_eq!(error.stage, process::SpawnStage::Cgroup);
    assert!(!file.exists());
}

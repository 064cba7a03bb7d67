//! Freezing and ending all that is in a group.

use super::*;

#[test]
fn everything_in_a_group_is_killed_in_each_way() {
    for mechanism in [
        Mechanism::CgroupKill,
        Mechanism::FreezerV2,
        Mechanism::FreezerV1,
        Mechanism::Signals,
    ] {
        let Some(group) = Group::new("kill") else {
            return;
        };
        let has_file = |name| {
            group
                .unified()
                .is_some_and(|folder: &Path| folder.join(name).exists())
        };
        let has = match mechanism {
            Mechanism::CgroupKill => has_file("cgroup.kill"),
            Mechanism::FreezerV2 => has_file("cgroup.freeze"),
            Mechanism::FreezerV1 => group.legacy(Controller::Freezer).is_some(),
            _ => true,
        };
        if !has {
            let error = group.kill_by(mechanism, LIMIT).unwrap_err();
            assert!(matches!(error, CgroupError::NoMechanism { .. }), "{error}");
            continue;
        }
        let mut child = group.shell(TREE);
        let used = group.kill_by(mechanism, LIMIT).unwrap();
        assert_eq!(used, mechanism);
        assert_eq!(child.wait().unwrap(), Exit::Signal(Signal::KILL));
        assert!(!group.is_populated().unwrap());
        assert!(group.processes().unwrap().is_empty());
        group.remove().unwrap();
        assert!(!folders(&group)[0].exists());
        // That it is gone already is no error.
        group.remove().unwrap();
    }
}

#[test]
fn nothing_escapes_by_forking() {
    for mechanism in [
        Mechanism::CgroupKill,
        Mechanism::FreezerV2,
        Mechanism::FreezerV1,
    ] {
        let Some(group) = Group::new("fork") else {
            return;
        };
        // Each starts another and ends, as fast as it can, and has left the session.
        let folder = tempfile::tempdir().unwrap();
        let step = folder.path().join("step");
        fs::write(&step, "setsid sh \"$0\" &\n").unwrap();
        group.limit(&Limits::new().pids(200)).unwrap();
        let mut child = group.shell(&format!("sh {} & echo; sleep 60", step.display()));
        match group.kill_by(mechanism, LIMIT) {
            Err(CgroupError::NoMechanism { .. }) => continue,
            killed => assert_eq!(killed.unwrap(), mechanism),
        }
        child.wait().unwrap();
        assert!(!group.is_populated().unwrap());
        std::thread::sleep(Duration::from_millis(50));
        assert!(group.processes().unwrap().is_empty());
    }
}

#[test]
fn what_is_frozen_stands_still() {
    let Some(group) = Group::new("freeze") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("count");
    let script = format!(
        "echo; while :; do echo tick >> {}; sleep 0.01; done",
        file.display()
    );
    let child = group.shell(&script);
    let length = || fs::metadata(&file).map_or(0, |file| file.len());
    let grows = || {
        let before = length();
        let deadline = Instant::now() + LIMIT;
        while length() == before {
            assert!(Instant::now() < deadline, "it does not go on");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    grows();
    let mechanism = group.freeze(LIMIT).unwrap();
    assert!(matches!(
        mechanism,
        Mechanism::FreezerV2 | Mechanism::FreezerV1
    ));
    let error = group.placement().unwrap_err();
    assert!(matches!(error, CgroupError::Frozen { .. }), "{error}");
    assert!(group.is_frozen().unwrap());
    let frozen = length();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(length(), frozen);
    group.thaw().unwrap();
    assert!(!group.is_frozen().unwrap());
    grows();
    group.freeze(LIMIT).unwrap();
    end(&group, child);
}

#[test]
fn the_caller_is_not_frozen_killed_or_removed() {
    let current = Cgroup::current().unwrap();
    for refused in [
        current.kill_by(Mechanism::Signals, LIMIT).map(|_| "killed"),
        current.signal(Signal::TERM).map(|()| "signalled"),
        current.remove().map(|()| "removed"),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, CgroupError::HoldsCaller { .. }), "{error}");
    }
    let error = current.freeze(LIMIT).unwrap_err();
    let is_told = matches!(
        error,
        // The root of a hierarchy has no freezer.
        CgroupError::HoldsCaller { .. } | CgroupError::NoMechanism { .. }
    );
    assert!(is_told, "{error}");
}

#[test]
fn a_group_that_is_gone_has_nobody_to_kill() {
    let Some(group) = Group::new("vanish") else {
        return;
    };
    group.remove().unwrap();
    group.kill(LIMIT).unwrap();
    for mechanism in [Mechanism::Signals, Mechanism::FreezerV1] {
        match group.kill_by(mechanism, LIMIT) {
            Err(CgroupError::NoMechanism { .. }) => {}
            killed => assert_eq!(killed.unwrap(), mechanism),
        }
    }
    assert!(!group.is_populated().unwrap());
    assert!(group.stats().is_err());
}

#[tokio::test]
async fn a_container_is_killed_with_its_group() {
    let Some(group) = Group::new("container") else {
        return;
    };
    let world = World::new().await;
    let image = fixtures::busybox_sif();
    let install = apptainer::sys::Install::discover().unwrap();
    let mut exec = apptainer::sys::command::Exec::new(
        &image,
        "sh",
        ["-c", "setsid sleep 60 & echo; sleep 60"],
    );
    exec.action.no_privs(is_root());
    let options = apptainer::sys::command::GlobalOptions::silent();
    let mut spawn = install.invocation(&options, &exec).unwrap();
    spawn
        .session(Session::NewSession)
        .stdout(Stdio::pipe())
        .cgroup(group.placement().unwrap());
    let child = ready(spawn);
    assert!(group.processes().unwrap().len() >= 3);
    end(&group, child);
    group.remove().unwrap();
    world.finish();
}

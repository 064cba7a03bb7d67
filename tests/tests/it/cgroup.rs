//! Cgroups of the real kernel, in whatever versions it has.
//!
//! Root may make them; other users only where that was delegated to them, and are
//! told so otherwise.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use apptainer::sys::cgroup::{
    BlockDevice, Cgroup, CgroupError, Controller, Cpus, Event, IoLimit, Limit, Limits, Mechanism,
    Version,
};
use apptainer::sys::process::{self, Child, Exit, Session, Signal, Spawn, Stdio};
use fixtures::World;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(20);

const CONTROLLERS: &[Controller] = &[
    Controller::Cpu,
    Controller::CpuSet,
    Controller::Io,
    Controller::Memory,
    Controller::Pids,
];

/// A group that is gone at the end of its test, with all that is in it.
struct Group(Cgroup);

impl Group {
    /// `None` for a user to whom nothing is delegated.
    fn new(name: &str) -> Option<Self> {
        let name = format!("apptainer-rs-{}-{name}", std::process::id());
        let parent = Self::parent();
        match parent.create(&name, CONTROLLERS) {
            Ok(group) => Some(Self(group)),
            Err(CgroupError::NotDelegated { .. }) if !is_root() => None,
            Err(CgroupError::HasProcesses { .. }) => {
                // Of version 2, and not its root: we have to make room first, and are
                // one below from then on.
                let room = parent.create("apptainer-rs-room", &[]).unwrap();
                parent.move_processes(&room).unwrap();
                Self::new(&name)
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// The group that groups are made in: our own, or the one above once there had
    /// to be made room.
    fn parent() -> Cgroup {
        let current = Cgroup::current().unwrap();
        let has_room = |folder: &Path| folder.ends_with("apptainer-rs-room");
        if current.unified().is_some_and(has_room) {
            return current.parent().unwrap();
        }
        current
    }

    /// A shell that has been started in it, and has said that it is ready.
    fn shell(&self, script: &str) -> Child {
        let mut spawn = shell(script);
        spawn.cgroup(self.0.placement().unwrap());
        ready(spawn)
    }
}

impl std::ops::Deref for Group {
    type Target = Cgroup;

    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What a failed test leaves must not fail the next.
        let _ = self.0.kill(LIMIT);
        let _ = self.0.remove();
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn shell(script: &str) -> Spawn {
    let mut spawn = Spawn::new("/bin/sh");
    spawn
        .args(["-c", script])
        .session(Session::NewSession)
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe());
    spawn
}

/// Started, and has printed a line.
fn ready(spawn: Spawn) -> Child {
    let mut child = spawn.spawn().unwrap();
    let stdout = fs::File::from(child.stdout.take().unwrap());
    let mut lines = BufReader::new(stdout);
    lines.read_line(&mut String::new()).unwrap();
    child
}

/// A shell, its child, and a grandchild that has left session and parent.
const TREE: &str = "sleep 60 & setsid sh -c 'sleep 60 & echo'; wait";

#[test]
fn who_may_make_no_group_is_told_so() {
    let current = Cgroup::current().unwrap();
    let delegation = current.delegation().unwrap();
    let created = current.create("apptainer-rs-refused", &[]);
    match created {
        Ok(group) => {
            group.remove().unwrap();
            assert!(delegation.unified || !delegation.controllers.is_empty());
        }
        Err(error) => {
            assert!(!is_root() && !delegation.unified, "{error}");
            assert!(matches!(error, CgroupError::NotDelegated { .. }), "{error}");
            assert!(error.to_string().contains("Delegate=yes"), "{error}");
        }
    }
}

#[test]
fn names_are_those_of_files() {
    let current = Cgroup::current().unwrap();
    for name in ["", ".", "..", "a/b", "cgroup.procs"] {
        let error = current.create(name, &[]).unwrap_err();
        assert!(matches!(error, CgroupError::InvalidName { .. }), "{error}");
    }
}

#[test]
fn a_group_that_is_there_is_left_alone() {
    let Some(group) = Group::new("there") else {
        return;
    };
    let current = Group::parent();
    let name = folders(&group)[0].file_name().unwrap();
    let name = name.to_str().unwrap().to_owned();
    let error = current.create(&name, CONTROLLERS).unwrap_err();
    assert!(
        matches!(error, CgroupError::AlreadyExists { .. }),
        "{error}"
    );
    let child = group.shell("echo; sleep 60");
    // It can be found again, from above and from below.
    assert!(current.children().unwrap().contains(&name));
    let found = current.child(&name).unwrap();
    assert_eq!(found.processes().unwrap(), group.processes().unwrap());
    assert_eq!(folders(&group.parent().unwrap())[0], folders(&current)[0]);
    assert_eq!(current.child("apptainer-rs-nothing"), None);
    // What has processes is not removed, nor is anything below it.
    let below = group.create("below", &[]).unwrap();
    assert!(group.remove().is_err());
    assert!(folders(&below)[0].exists());
    assert_eq!(group.processes().unwrap()[0], child.pid());
    end(&group, child);
}

/// Kills all, and waits for the shell.
fn end(group: &Group, mut child: Child) {
    group.kill(LIMIT).unwrap();
    assert_eq!(child.wait().unwrap(), Exit::Signal(Signal::KILL));
}

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

/// Where it is, in the hierarchies that the tests ask for.
fn folders(group: &Cgroup) -> Vec<&Path> {
    let legacy = CONTROLLERS
        .iter()
        .filter_map(|controller| group.legacy(*controller));
    group.unified().into_iter().chain(legacy).collect()
}

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

#[test]
fn too_much_memory_is_an_event_and_a_count() {
    let Some(group) = Group::new("memory") else {
        return;
    };
    group
        .limit(&Limits::new().memory(32 << 20).swap(0))
        .unwrap();
    let mut events = group.events().unwrap();
    let mut child = group.shell("echo; exec dd if=/dev/zero of=/dev/null bs=200M count=1");
    assert_eq!(child.wait().unwrap(), Exit::Signal(Signal::KILL));
    let mut seen = Vec::new();
    while !seen
        .iter()
        .any(|event| matches!(event, Event::OutOfMemory { .. }))
    {
        seen.push(events.next(Some(LIMIT)).unwrap().expect("it is told"));
    }
    assert!(seen.contains(&Event::OutOfMemory { kills: 1 }), "{seen:?}");
    let memory = group.stats().unwrap().memory.unwrap();
    assert_eq!((memory.oom_kills, memory.limit), (1, Limit::Max(32 << 20)));
    assert!(memory.peak.is_none_or(|peak| peak > 16 << 20), "{memory:?}");
    group
        .limit(
            &Limits::new()
                .memory(Limit::Unlimited)
                .swap(Limit::Unlimited),
        )
        .unwrap();
    let memory = group.stats().unwrap().memory.unwrap();
    assert_eq!(memory.limit, Limit::Unlimited);
}

#[test]
fn limits_can_be_raised_and_lowered_and_keep_the_swap_that_is_allowed() {
    let Some(group) = Group::new("raise") else {
        return;
    };
    let set = |limits| group.limit(&limits).unwrap();
    set(Limits::new().memory(64 << 20).swap(0));
    for mebibytes in [256, 32, 128] {
        set(Limits::new().memory(mebibytes << 20));
        let memory = group.stats().unwrap().memory.unwrap();
        assert_eq!(memory.limit, Limit::Max(mebibytes << 20));
        if let Some(folder) = group.legacy(Controller::Memory) {
            let both = fs::read_to_string(folder.join("memory.memsw.limit_in_bytes"));
            assert_eq!(both.unwrap().trim(), (mebibytes << 20).to_string());
        }
    }
    set(Limits::new()
        .memory(Limit::Unlimited)
        .swap(Limit::Unlimited));
    if group.version(Controller::Memory).unwrap() == Some(Version::V1) {
        let error = group.limit(&Limits::new().swap(1 << 20)).unwrap_err();
        assert!(matches!(error, CgroupError::InvalidLimit { .. }), "{error}");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let Some(group) = Group::new("sense") else {
        return;
    };
    let mut nothing = IoLimit::new(disk());
    nothing.read_bytes = Some(Limit::Max(0));
    for limits in [
        Limits::new().cpus(Cpus::from(0.001)),
        Limits::new().cpu_weight(0),
        Limits::new().cpuset_cpus(std::iter::empty().collect()),
        Limits::new().io(nothing),
    ] {
        let error = group.limit(&limits.pids(7)).unwrap_err();
        assert!(matches!(error, CgroupError::InvalidLimit { .. }), "{error}");
    }
    let pids = group.stats().unwrap().pids.unwrap();
    assert_eq!(pids.limit, Limit::Unlimited);
}

fn disk() -> BlockDevice {
    let disk = fs::read_dir("/sys/block").unwrap().find_map(|entry| {
        let device = fs::read_to_string(entry.unwrap().path().join("dev")).unwrap();
        let (major, minor) = device.trim().split_once(':')?;
        Some(BlockDevice {
            major: major.parse().unwrap(),
            minor: minor.parse().unwrap(),
        })
    });
    disk.expect("there is a disk")
}

#[test]
fn one_process_too_many_is_refused() {
    let Some(group) = Group::new("pids") else {
        return;
    };
    group.limit(&Limits::new().pids(3)).unwrap();
    let script = "for i in 1 2 3 4 5; do sleep 60 & done; echo; wait";
    let mut spawn = shell(script);
    spawn.stderr(Stdio::Null).cgroup(group.placement().unwrap());
    let mut child = spawn.spawn().unwrap();
    // A shell that cannot fork ends at once.
    assert_ne!(child.wait().unwrap(), Exit::Code(0));
    let pids = group.stats().unwrap().pids.unwrap();
    assert_eq!(pids.limit, Limit::Max(3));
    assert!(pids.refused >= 1 && pids.current <= 3, "{pids:?}");
    group.kill(LIMIT).unwrap();
}

#[test]
fn a_part_of_a_cpu_is_no_more_than_that() {
    let Some(group) = Group::new("cpu") else {
        return;
    };
    group
        .limit(&Limits::new().cpus(Cpus::from(0.1)).cpu_weight(50))
        .unwrap();
    let child = group.shell("echo; while :; do :; done");
    let deadline = Instant::now() + LIMIT;
    loop {
        let cpu = group.stats().unwrap().cpu.unwrap();
        if cpu.throttled_periods > 2 {
            assert!(cpu.throttled > Duration::ZERO && cpu.usage > Duration::ZERO);
            break;
        }
        assert!(Instant::now() < deadline, "{cpu:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    end(&group, child);
}

#[test]
fn processes_keep_to_their_cpus() {
    let Some(group) = Group::new("cpuset") else {
        return;
    };
    if group.version(Controller::CpuSet).unwrap().is_none() {
        return;
    }
    let first = std::iter::once(0).collect();
    group.limit(&Limits::new().cpuset_cpus(first)).unwrap();
    let mut spawn = Spawn::new("/bin/grep");
    spawn
        .args(["Cpus_allowed_list", "/proc/self/status"])
        .stdout(Stdio::pipe())
        .cgroup(group.placement().unwrap());
    let printed = spawn.spawn().unwrap().output().unwrap().stdout;
    assert_eq!(printed, b"Cpus_allowed_list:\t0\n");
}

#[test]
fn devices_are_limited_by_number() {
    let Some(group) = Group::new("io") else {
        return;
    };
    let Some(version) = group.version(Controller::Io).unwrap() else {
        return;
    };
    let device = disk();
    let mut limit = IoLimit::new(device);
    limit.write_bytes = Some(Limit::Max(1 << 20));
    group.limit(&Limits::new().io(limit)).unwrap();
    let (folder, name, line) = match version {
        Version::V1 => (
            group.legacy(Controller::Io).unwrap(),
            "blkio.throttle.write_bps_device",
            format!("{device} 1048576\n"),
        ),
        Version::V2 => (
            group.unified().unwrap(),
            "io.max",
            format!("{device} rbps=max wbps=1048576 riops=max wiops=max\n"),
        ),
    };
    assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), line);
    limit.write_bytes = Some(Limit::Unlimited);
    group.limit(&Limits::new().io(limit)).unwrap();
    assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "");
    assert!(group.stats().unwrap().io.is_some());
}

#[test]
fn what_is_not_controlled_cannot_be_limited() {
    let name = format!("apptainer-rs-{}-bare", std::process::id());
    let Ok(group) = Group::parent().create(&name, &[]) else {
        assert!(!is_root());
        return;
    };
    let group = Group(group);
    let limited = group.limit(&Limits::new().memory(64 << 20));
    // Version 2 gives children what any of them was given.
    if group.version(Controller::Memory).unwrap().is_some() {
        return limited.unwrap();
    }
    let error = limited.unwrap_err();
    let CgroupError::NoController { controller, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(controller, Controller::Memory);
}

#[test]
fn that_it_fills_and_empties_is_told() {
    let Some(group) = Group::new("events") else {
        return;
    };
    if group.unified().is_none() {
        return;
    }
    let mut events = group.events().unwrap();
    assert_eq!(events.try_next().unwrap(), None);
    let child = group.shell("echo; sleep 60");
    let next = |events: &mut apptainer::sys::cgroup::Events| events.next(Some(LIMIT)).unwrap();
    assert_eq!(next(&mut events), Some(Event::Populated(true)));
    group.freeze(LIMIT).unwrap();
    assert_eq!(next(&mut events), Some(Event::Frozen(true)));
    group.thaw().unwrap();
    assert_eq!(next(&mut events), Some(Event::Frozen(false)));
    end(&group, child);
    assert_eq!(next(&mut events), Some(Event::Populated(false)));
    let short = Some(Duration::from_millis(20));
    assert_eq!(events.next(short).unwrap(), None);
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

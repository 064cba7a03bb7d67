//! Limits, and what is counted.

use super::*;

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

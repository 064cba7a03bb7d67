//! Limits without a cgroup.

use std::fs;

use apptainer_sys::process::{Signal, State};

use super::shell::{holder, next_event, state, ticks, wait_for};
use super::*;
use crate::instance::pause::Who;

fn without_groups(limits: &Limits) -> Enclosure {
    Enclosure::within(None, limits).unwrap()
}

#[tokio::test]
async fn too_much_memory_is_the_end_of_the_payload_and_named() {
    let limit = 60 << 20;
    let mut enclosure = without_groups(&Limits::new().memory(limit));
    assert_eq!(enclosure.mechanisms().memory, Some(Mechanism::Watchdog));
    let script = format!("{}; echo survived; sleep 60", holder(150));
    let mut shell = Shell::within(&mut enclosure, &script);
    shell.begin();
    match next_event(&mut enclosure).await {
        EnclosureEvent::Exceeded(Exceeded::Memory { used, limit: told }) => {
            assert_eq!(told, limit);
            assert!((limit + 1..300 << 20).contains(&used), "{used}");
        }
        other => panic!("{other:?}"),
    }
    // Not what ran before: it tells how the payload ended.
    assert_eq!(shell.line(), "survived");
}

#[tokio::test]
async fn what_keeps_within_its_memory_is_let_be() {
    let mut enclosure = without_groups(&Limits::new().memory(200 << 20));
    let mut shell = Shell::within(&mut enclosure, &holder(80));
    shell.begin();
    let dd = shell.child("dd").pid;
    let looks = std::time::Duration::from_millis(500);
    let event = tokio::time::timeout(looks, enclosure.next_event()).await;
    assert!(event.is_err(), "{event:?}");
    assert_ne!(state(dd), None);
    let stats = enclosure.stats(&shell.processes()).await.unwrap();
    assert_eq!(stats.memory.limit, Some(200 << 20));
    assert!(stats.memory.anonymous > 80 << 20, "{stats:?}");
}

#[tokio::test]
async fn too_many_processes_are_the_end_of_the_payload_where_nobody_counts_them() {
    let mut enclosure = without_groups(&Limits::new().pids(4));
    let script = "for i in 1 2 3 4 5 6; do sleep 60 & done; wait; echo survived; sleep 60";
    let mut shell = Shell::within(&mut enclosure, script);
    // It has no user namespace of its own.
    assert_eq!(enclosure.mechanisms().pids, Some(Mechanism::Watchdog));
    assert_eq!(enclosure.rlimits(), []);
    shell.begin();
    let event = next_event(&mut enclosure).await;
    let EnclosureEvent::Exceeded(Exceeded::Processes { count, limit: 4 }) = event else {
        panic!("{event:?}");
    };
    assert!((5..=6).contains(&count), "{count}");
    assert_eq!(shell.line(), "survived");
}

#[test]
fn instances_are_spread_over_the_cpus() {
    let limits = Limits::new().cpus(1.0);
    let chosen = || without_groups(&limits).cpus().unwrap().to_string();
    let chosen: std::collections::HashSet<_> = (0..8).map(|_| chosen()).collect();
    let allowed = without_groups(&Limits::new().cpus(1e6));
    let most = allowed.cpus().unwrap().iter().count();
    assert!(chosen.len() > 1 || most == 1, "{chosen:?} of {most}");
}

#[tokio::test]
async fn part_of_a_cpu_is_a_whole_one() {
    let mut enclosure = without_groups(&Limits::new().cpus(0.5));
    assert_eq!(enclosure.mechanisms().cpus, Some(Mechanism::Affinity));
    let mut shell = Shell::within(&mut enclosure, "sleep 60 & wait");
    shell.begin();
    let sleep = shell.child("sleep").pid;
    let status = fs::read_to_string(format!("/proc/{sleep}/status")).unwrap();
    let mut lines = status.lines();
    let allowed = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    assert!(
        allowed.unwrap().trim().parse::<u32>().is_ok(),
        "{allowed:?}"
    );
}

#[test]
fn what_takes_a_cgroup_is_refused_without_one() {
    let cases = [
        (Limits::new().cpu_weight(50), "cpu_weight"),
        (Limits::new().memory_high(1 << 30), "memory_high"),
        (Limits::new().swap(0), "swap"),
        (Limits::new().cpuset_mems("0"), "cpuset_mems"),
    ];
    for (limits, name) in cases {
        let error = Enclosure::within(None, &limits).unwrap_err();
        assert!(error.is_unsupported());
        assert!(matches!(error, LimitError::Unsupported { field } if field == name));
    }
}

#[test]
fn nonsense_is_refused_before_anything_is_made() {
    let error = Enclosure::prepare(&Limits::new().pids(0), None).unwrap_err();
    assert!(matches!(error, LimitError::Invalid { field, .. } if field == "pids"));
}

#[test]
fn limits_of_processes_are_the_same_soft_and_hard() {
    use crate::exec::Resource;
    let limits = Limits::new().resource(Resource::OpenFiles, 64);
    let limits = without_groups(&limits.resource(Resource::Core, 0)).rlimits();
    assert_eq!(
        limits,
        [(Resource::Core, 0, 0), (Resource::OpenFiles, 64, 64)]
    );
}

#[tokio::test]
async fn signals_halt_all_and_leave_be_what_stood_still() {
    let mut enclosure = without_groups(&Limits::new());
    let script = "sleep 60 & while :; do :; done & while :; do :; done";
    let mut shell = Shell::within(&mut enclosure, script);
    shell.begin();
    let (sleep, busy) = (shell.child("sleep").pid, shell.child("sh").pid);
    let processes = shell.processes();
    let members = processes.members().unwrap();
    let halted_before = members.iter().find(|one| one.process.pid == sleep).unwrap();
    halted_before.pidfd.signal(Signal::STOP).unwrap();
    wait_for(|| (state(sleep)? == State::Stopped).then_some(()));

    let mechanism = enclosure.pause(&processes).await.unwrap();
    assert_eq!(mechanism, Mechanism::Signals);
    for member in &members {
        assert_eq!(state(member.process.pid), Some(State::Stopped));
    }
    let before = ticks(busy);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(ticks(busy), before);
    assert_eq!(enclosure.pause(&processes).await.unwrap(), mechanism);

    enclosure.resume().await.unwrap();
    wait_for(|| (ticks(busy) > before).then_some(()));
    assert_eq!(state(sleep), Some(State::Stopped));
    // Whoever comes later cannot know.
    let later = Enclosure::recover(enclosure.record()).unwrap();
    later.resume_all(&processes).await.unwrap();
    wait_for(|| (state(sleep)? != State::Stopped).then_some(()));
}

#[tokio::test]
async fn what_the_logs_halt_goes_on_when_they_let_it() {
    let mut enclosure = without_groups(&Limits::new());
    let shell = Shell::within(&mut enclosure, "sleep 60");
    let processes = shell.processes();
    let (group, paused) = enclosure.halted_by();
    paused.halt(Who::Logs, group.as_ref(), &processes).unwrap();
    enclosure.pause(&processes).await.unwrap();
    enclosure.resume().await.unwrap();
    assert_eq!(state(processes.payload_pid()), Some(State::Stopped));
    paused.resume(Who::Logs).unwrap();
    assert_ne!(state(processes.payload_pid()), Some(State::Stopped));
}

/// A parent in vfork(2) halts only once its child has gone on.
#[tokio::test]
async fn what_starts_programs_all_the_time_can_be_halted() {
    let mut enclosure = without_groups(&Limits::new());
    let script = "while :; do /bin/true; done & while :; do /bin/true; done";
    let mut shell = Shell::within(&mut enclosure, script);
    shell.begin();
    let processes = shell.processes();
    for _ in 0..30 {
        enclosure.pause(&processes).await.unwrap();
        for member in processes.members().unwrap() {
            let state = member.process.state;
            assert!(
                matches!(state, State::Stopped | State::Zombie),
                "{member:?}"
            );
        }
        enclosure.resume().await.unwrap();
    }
}

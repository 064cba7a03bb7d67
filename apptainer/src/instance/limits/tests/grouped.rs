//! Limits kept by a cgroup, where the caller may make one: root, and whoever has one delegated.

use std::time::Duration;

use super::super::{EnclosureRecord, Site};
use super::shell::{holder, next_event, ticks, wait_for};
use super::*;
use crate::instance::stats::Stats;

/// `None` where the caller may make no group that does what is needed.
fn with_groups(
    limits: &Limits,
    name: &str,
    needed: impl Fn(&Mechanisms) -> Option<Mechanism>,
) -> Option<(Enclosure, Cleared)> {
    let enclosure = Enclosure::prepare(limits, Site::choose(name).unwrap().as_ref());
    if !nix::unistd::geteuid().is_root() {
        let by_group = |enclosure: &Enclosure| {
            matches!(needed(enclosure.mechanisms()), Some(Mechanism::Cgroup(_)))
        };
        let is_refused = enclosure.as_ref().is_err_and(LimitError::is_unsupported);
        if is_refused
            || enclosure
                .as_ref()
                .is_ok_and(|enclosure| !by_group(enclosure))
        {
            eprintln!("not tested: no cgroup does that for this user");
            if let Ok(enclosure) = enclosure {
                enclosure.record().clear().unwrap();
            }
            return None;
        }
    }
    let enclosure = enclosure.unwrap();
    let cleared = Cleared(enclosure.record());
    Some((enclosure, cleared))
}

impl EnclosureRecord {
    /// Ends what is still in the groups, and removes them. Blocks for a while.
    fn clear(&self) -> Result<(), LimitError> {
        if let Some(groups) = self.groups.as_ref().filter(|groups| groups.are_there()) {
            groups.kill()?;
            groups.remove()?;
        }
        Ok(())
    }
}

/// Groups that a failed test leaves neither.
struct Cleared(EnclosureRecord);

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = self.0.clear();
    }
}

/// Ends all, and checks that nothing is left.
fn end(enclosure: &Enclosure, shell: Shell) {
    let record = enclosure.record();
    record.clear().unwrap();
    drop(shell);
    assert!(Enclosure::recover(record).is_none());
}

#[tokio::test]
async fn what_the_kernel_kills_for_want_of_memory_is_named() {
    let limits = Limits::new().memory(40 << 20).swap(0);
    let Some((mut enclosure, _cleared)) = with_groups(&limits, "oom", |kept| kept.memory) else {
        return;
    };
    let script = format!("{}; echo survived; {}; sleep 60", holder(150), holder(150));
    let mut shell = Shell::within(&mut enclosure, &script);
    shell.begin();
    for _ in 0..2 {
        let event = next_event(&mut enclosure).await;
        assert_eq!(event, EnclosureEvent::OutOfMemory { kills: 1 });
        // The sleep at the pipe's other end holds up the shell.
        let sleep = shell.child("sleep").pid;
        let processes = crate::instance::processes::Processes::of_test(sleep).unwrap();
        processes.kill().unwrap();
    }
    assert_eq!(shell.line(), "survived");
    let stats = enclosure.stats(&shell.processes()).await.unwrap();
    assert_eq!(stats.memory.oom_kills, Some(2));
    assert_eq!(stats.memory.limit, Some(40 << 20));
    end(&enclosure, shell);
}

#[tokio::test]
async fn more_than_its_cpu_time_is_held_back() {
    let Some((mut enclosure, _cleared)) =
        with_groups(&Limits::new().cpus(0.1), "cpus", |kept| kept.cpus)
    else {
        return;
    };
    let mut shell = Shell::within(&mut enclosure, "while :; do :; done & wait");
    shell.begin();
    shell.child("sh");
    tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let stats = enclosure.stats(&shell.processes()).await.unwrap();
            if stats.cpu.throttled_periods.unwrap() > 1 {
                assert!(stats.cpu.throttled.unwrap() > Duration::ZERO);
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    end(&enclosure, shell);
}

#[tokio::test]
async fn more_processes_are_refused_and_those_before_do_not_count() {
    let Some((mut enclosure, _cleared)) =
        with_groups(&Limits::new().pids(3), "pids", |kept| kept.pids)
    else {
        return;
    };
    let script = "exec 2>&1; sleep 60 & sleep 60 & sleep 60 & echo three; sleep 60 & echo four";
    let mut shell = Shell::within(&mut enclosure, script);
    shell.begin();
    assert_eq!(shell.line(), "three");
    let refusal = shell.line();
    assert!(refusal.contains("fork"), "{refusal}");
    end(&enclosure, shell);
}

#[tokio::test]
async fn what_is_frozen_stands_still_until_it_goes_on_or_is_killed() {
    let Some((mut enclosure, _cleared)) =
        with_groups(&Limits::new(), "freeze", |kept| Some(kept.pause))
    else {
        return;
    };
    let mut shell = Shell::within(&mut enclosure, "while :; do :; done & wait");
    shell.begin();
    let (busy, processes) = (shell.child("sh").pid, shell.processes());
    let by = enclosure.pause(&processes).await.unwrap();
    assert_eq!(by, enclosure.mechanisms().pause);
    assert!(matches!(by, Mechanism::Cgroup(_)));
    let before = ticks(busy);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(ticks(busy), before);
    // Whoever comes later sees that it is.
    let later = Enclosure::recover(enclosure.record()).unwrap();
    later.resume_all(&processes).await.unwrap();
    wait_for(|| (ticks(busy) > before).then_some(()));
    later.pause(&processes).await.unwrap();
    end(&enclosure, shell);
}

#[tokio::test]
async fn a_group_and_its_processes_count_much_the_same() {
    let Some((mut enclosure, _cleared)) =
        with_groups(&Limits::new(), "count", |kept| Some(kept.stats))
    else {
        return;
    };
    let script = format!("{} & while :; do :; done & wait", holder(100));
    let mut shell = Shell::within(&mut enclosure, &script);
    shell.begin();
    let processes = shell.processes();
    let one_second = Duration::from_secs(1);
    let of_group = loop {
        let stats = enclosure.stats(&processes).await.unwrap();
        if stats.cpu.usage > one_second && stats.memory.anonymous > 100 << 20 {
            break stats;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let of_processes = Stats::of(None, &processes).unwrap();
    assert_eq!(of_processes.mechanism, Mechanism::Processes);
    assert_eq!(of_group.mechanism, enclosure.mechanisms().stats);
    let within = |one: u64, other: u64| one / 2 <= other && other / 2 <= one;
    let (one, other) = (of_group.memory, of_processes.memory);
    assert!(within(one.anonymous, other.anonymous), "{one:?} {other:?}");
    let (one, other) = (of_group.cpu.usage, of_processes.cpu.usage);
    assert!(other > one / 2, "{one:?} {other:?}");
    assert_eq!(of_group.pids.current, of_processes.pids.current);
    assert_eq!(of_group.processes, of_processes.processes);
    end(&enclosure, shell);
}

#[tokio::test]
async fn what_a_killed_supervisor_leaves_is_found_and_cleared() {
    let limits = Limits::new().memory(1 << 30);
    let Some((mut enclosure, _cleared)) = with_groups(&limits, "clear", |kept| Some(kept.pause))
    else {
        return;
    };
    let mut shell = Shell::within(&mut enclosure, "sleep 60 & setsid sleep 60 & wait");
    shell.begin();
    shell.child("sleep");
    enclosure.pause(&shell.processes()).await.unwrap();
    let text = serde_json::to_string(&enclosure.record()).unwrap();
    drop(enclosure);
    let record: EnclosureRecord = serde_json::from_str(&text).unwrap();
    let recovered = Enclosure::recover(record.clone()).unwrap();
    assert!(matches!(recovered.mechanisms().pause, Mechanism::Cgroup(_)));
    // The test has the shell to wait for.
    let reaped = tokio::task::spawn_blocking(move || record.clear().map(|()| record));
    let record = reaped.await.unwrap().unwrap();
    drop(shell);
    assert!(Enclosure::recover(record.clone()).is_none());
    record.clear().unwrap();
}

#[tokio::test]
async fn a_site_is_cleared_of_what_was_made_there() {
    let Some(site) = Site::choose("site").unwrap() else {
        return;
    };
    site.clear().unwrap();
    let mut enclosure = Enclosure::prepare(&Limits::new(), Some(&site)).unwrap();
    let text = serde_json::to_string(&site).unwrap();
    let site: Site = serde_json::from_str(&text).unwrap();
    let mut shell = Shell::within(&mut enclosure, "sleep 60");
    shell.begin();
    if enclosure.record().groups.is_some() {
        assert!(Enclosure::recover(enclosure.record()).is_some());
        let site = site.clone();
        let cleared = tokio::task::spawn_blocking(move || site.clear());
        cleared.await.unwrap().unwrap();
        assert!(Enclosure::recover(enclosure.record()).is_none());
    }
    drop(shell);
    site.clear().unwrap();
}

#[tokio::test]
async fn a_group_that_takes_nobody_in_is_done_without_unless_it_limits() {
    for (limits, is_needed) in [(Limits::new(), false), (Limits::new().pids(9), true)] {
        let needed = |kept: &Mechanisms| kept.pids.or(Some(kept.pause));
        let Some((mut enclosure, _cleared)) = with_groups(&limits, "refused", needed) else {
            return;
        };
        let groups = enclosure.record().groups.unwrap();
        let mut shell = Shell::started(&enclosure, "sleep 60");
        groups.payload.remove().unwrap();
        let adopted = enclosure.adopt(&shell.processes());
        assert_eq!(adopted.is_err(), is_needed, "{adopted:?}");
        if !is_needed {
            enclosure.watch(&shell.processes()).unwrap();
            shell.begin();
            let by = enclosure.pause(&shell.processes()).await.unwrap();
            assert_eq!(by, Mechanism::Signals);
            let stats = enclosure.stats(&shell.processes()).await.unwrap();
            assert_eq!(stats.mechanism, enclosure.mechanisms().stats);
        }
        drop(shell);
        enclosure.record().clear().unwrap();
    }
}

#[test]
fn what_could_be_had_is_what_is_had() {
    let could: Mechanisms = Limits::probe().unwrap();
    let limits = Limits::new().memory(100 << 20).cpus(1.0).pids(9);
    let enclosure = Enclosure::prepare(&limits, Site::choose("probed").unwrap().as_ref()).unwrap();
    let has = enclosure.mechanisms().clone();
    assert_eq!(
        (has.memory, has.cpus, has.pids),
        (could.memory, could.cpus, could.pids)
    );
    assert_eq!((has.pause, has.stats), (could.pause, could.stats));
    let record = enclosure.record();
    record.clear().unwrap();
}

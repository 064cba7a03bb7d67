//! Limits as data.

use apptainer_sys::cgroup::{Controller, Version};

use super::super::mechanism::Available;
use super::*;
use crate::exec::Resource;

fn all() -> Limits {
    Limits::new()
        .memory(1 << 30)
        .memory_high(1 << 29)
        .swap(0)
        .cpus(1.5)
        .cpu_weight(50)
        .cpuset_cpus("0-1")
        .cpuset_mems("0")
        .pids(100)
        .resource(Resource::OpenFiles, 1024)
}

#[test]
fn what_is_written_is_read_again_and_what_is_not_set_is_left_out() {
    let text = serde_json::to_string(&all()).unwrap();
    assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), all());
    assert_eq!(serde_json::to_string(&Limits::new()).unwrap(), "{}");
    assert_eq!(serde_json::from_str::<Limits>("{}").unwrap(), Limits::new());
}

#[test]
fn what_is_unknown_is_refused() {
    for text in [r#"{"memroy":1}"#, r#"{"resources":{"files":1}}"#] {
        assert!(serde_json::from_str::<Limits>(text).is_err(), "{text}");
    }
}

#[test]
fn each_problem_is_found_by_its_field() {
    let fields = |limits: Limits| -> Vec<String> {
        let findings = limits.findings().into_iter();
        findings.map(|(field, _)| field).collect()
    };
    assert!(fields(all()).is_empty());
    assert!(fields(Limits::new().cpus(1e6).swap(0)).is_empty());
    let none = Limits::new()
        .memory(1000)
        .memory_high(0)
        .cpus(0.0)
        .cpu_weight(0)
        .cpuset_cpus("3-1")
        .cpuset_mems("")
        .pids(0)
        .resource(Resource::OpenFiles, 0)
        .resource(Resource::Core, 0);
    let found = [
        "memory",
        "memory_high",
        "cpus",
        "cpu_weight",
        "cpuset_cpus",
        "cpuset_mems",
        "pids",
        "resources.open_files",
    ];
    assert_eq!(fields(none), found);
    let high = Limits::new().memory(1 << 20).memory_high(1 << 21);
    assert_eq!(fields(high), ["memory_high"]);
    assert_eq!(fields(Limits::new().cpus(f64::NAN)), ["cpus"]);
}

#[test]
fn each_limit_has_the_best_means_that_there_is() {
    let none = Available::default().mechanisms();
    assert_eq!(none.memory, Some(Mechanism::Watchdog));
    assert_eq!(none.pids, Some(Mechanism::Watchdog));
    assert_eq!(none.cpus, Some(Mechanism::Affinity));
    assert_eq!((none.memory_high, none.cpuset_mems), (None, None));
    assert_eq!(
        (none.pause, none.stats),
        (Mechanism::Signals, Mechanism::Processes)
    );

    let part = Available {
        controllers: vec![(Controller::Memory, Version::V2)],
        freezer: Some(Version::V2),
        counts_processes: true,
    };
    let part = part.mechanisms();
    let v2 = Mechanism::Cgroup(Version::V2);
    assert_eq!(
        (part.memory, part.memory_high, part.swap),
        (Some(v2), Some(v2), Some(v2))
    );
    assert_eq!((part.pause, part.stats), (v2, v2));
    let old = Available {
        controllers: vec![(Controller::Memory, Version::V1)],
        ..Available::default()
    };
    let old = old.mechanisms();
    let v1 = Mechanism::Cgroup(Version::V1);
    assert_eq!((old.memory, old.memory_high), (Some(v1), None));
    assert_eq!(part.pids, Some(Mechanism::ResourceLimit));
    assert_eq!(
        (part.cpus, part.cpu_weight),
        (Some(Mechanism::Affinity), None)
    );
}

#[test]
fn only_what_is_limited_is_kept() {
    let none = Available::default();
    let kept = none.keeping(&Limits::new().memory(1 << 30)).unwrap();
    assert_eq!(kept.memory, Some(Mechanism::Watchdog));
    assert_eq!((kept.pids, kept.cpus), (None, None));
    assert!(none.keeping(&all()).unwrap_err().is_unsupported());
}

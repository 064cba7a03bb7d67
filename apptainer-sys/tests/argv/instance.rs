//! Instances.

use std::time::Duration;

use apptainer_sys::command::instance::{List, Run, Start, StartOptions, Stats, Stop};
use apptainer_sys::command::{Exec, Subcommand};
use apptainer_sys::process::Signal;
use insta::assert_snapshot;

use crate::action::set_all;
use crate::rendered;

#[test]
fn start_takes_what_exec_takes() {
    let mut start = Start::new("a.sif", "web", [] as [&str; 0]);
    set_all(&mut start.action);
    let mut exec = Exec::new("a.sif", "true", [] as [&str; 0]);
    set_all(&mut exec.action);
    let (start, exec) = (start.argv(), exec.argv());
    assert_eq!(start[..2], ["instance", "start"]);
    assert_eq!(start[2..start.len() - 2], exec[1..exec.len() - 2]);
}

#[test]
fn start_with_its_own_flags() {
    let mut start = Start::new("a.sif", "web", ["--port", "80"]);
    start.action.containall(true);
    start
        .start
        .boot(true)
        .dmtcp_launch("one")
        .dmtcp_restart("one")
        .pid_file("/run/web.pid");
    assert_snapshot!(rendered(&start, &[StartOptions::FLAGS]), @r"
        instance start
        --containall
        --boot
        --dmtcp-launch one
        --dmtcp-restart one
        --pid-file /run/web.pid a.sif web
        --port 80
    ");
}

#[test]
fn run_with_its_own_flags() {
    let mut run = Run::new("a.sif", "web", ["--port", "80"]);
    run.action.containall(true);
    run.start.pid_file("/run/web.pid");
    run.runscript_timeout(Duration::from_secs(30));
    assert_snapshot!(rendered(&run, &[Run::FLAGS]), @r"
        instance run
        --containall
        --pid-file /run/web.pid
        --runscript-timeout 30s a.sif web
        --port 80
    ");
}

#[test]
fn list() {
    assert_eq!(List::all_names().argv(), ["instance", "list"]);
    let mut list = List::matching("web-*");
    list.all(true).json(true).logs(true).user("alice");
    assert_snapshot!(rendered(&list, &[List::FLAGS]), @r"
        instance list
        --all
        --json
        --logs
        --user alice web-*
    ");
}

#[test]
fn stop() {
    assert_eq!(Stop::all().argv(), ["instance", "stop", "--all"]);
    let mut stop = Stop::matching("web-*");
    stop.every(true)
        .force(true)
        .signal(Signal::TERM)
        .timeout(5_u32)
        .user("alice");
    assert_snapshot!(rendered(&stop, &[Stop::FLAGS]), @r"
        instance stop
        --all
        --force
        --signal SIGTERM
        --timeout 5
        --user alice web-*
    ");
}

#[test]
fn stats() {
    let mut command = Stats::new("web");
    command.json(true).no_stream(true).user("alice");
    assert_snapshot!(rendered(&command, &[Stats::FLAGS]), @r"
        instance stats
        --json
        --no-stream
        --user alice web
    ");
}

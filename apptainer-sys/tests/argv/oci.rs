//! `apptainer oci ..`

use apptainer_sys::command::oci::{
    Attach, Create, Delete, Exec, Kill, LogFormat, Mount, Pause, Resume, Run, Start, State, Umount,
    Update,
};
use apptainer_sys::process::Signal;
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn attach() {
    assert_snapshot!(rendered(&Attach::new("web"), &[]), @"oci attach web");
}

#[test]
fn delete() {
    assert_snapshot!(rendered(&Delete::new("web"), &[]), @"oci delete web");
}

#[test]
fn pause() {
    assert_snapshot!(rendered(&Pause::new("web"), &[]), @"oci pause web");
}

#[test]
fn resume() {
    assert_snapshot!(rendered(&Resume::new("web"), &[]), @"oci resume web");
}

#[test]
fn start() {
    assert_snapshot!(rendered(&Start::new("web"), &[]), @"oci start web");
}

#[test]
fn create() {
    let mut command = Create::new("/srv/bundle", "web");
    command
        .empty_process(true)
        .log_format(LogFormat::Json)
        .log_path("/var/log/c")
        .pid_file("/run/c.pid")
        .sync_socket("/run/c.sock");
    assert_snapshot!(rendered(&command, &[Create::FLAGS]), @r"
        oci create
        --bundle /srv/bundle
        --empty-process
        --log-format json
        --log-path /var/log/c
        --pid-file /run/c.pid
        --sync-socket /run/c.sock web
    ");
}

#[test]
fn run() {
    let mut command = Run::new("/srv/bundle", "web");
    command
        .log_format(LogFormat::Json)
        .log_path("/var/log/c")
        .pid_file("/run/c.pid")
        .sync_socket("/run/c.sock");
    assert_snapshot!(rendered(&command, &[Run::FLAGS]), @r"
        oci run
        --bundle /srv/bundle
        --log-format json
        --log-path /var/log/c
        --pid-file /run/c.pid
        --sync-socket /run/c.sock web
    ");
}

#[test]
fn exec() {
    assert_snapshot!(rendered(&Exec::new("web", "ls", ["-l"]), &[]), @"oci exec web ls -l");
}

#[test]
fn kill() {
    let mut command = Kill::new("web");
    command.force(true).signal(Signal::TERM).timeout(5_u32);
    assert_snapshot!(rendered(&command, &[Kill::FLAGS]), @r"
        oci kill
        --force
        --signal SIGTERM
        --timeout 5 web
    ");
}

#[test]
fn mount() {
    assert_snapshot!(rendered(&Mount::new("a.sif", "/srv/bundle"), &[]), @"oci mount a.sif /srv/bundle");
}

#[test]
fn state() {
    let mut command = State::new("web");
    command.sync_socket("/run/c.sock");
    assert_snapshot!(rendered(&command, &[State::FLAGS]), @r"
        oci state
        --sync-socket /run/c.sock web
    ");
}

#[test]
fn umount() {
    assert_snapshot!(rendered(&Umount::new("/srv/bundle"), &[]), @"oci umount /srv/bundle");
}

#[test]
fn update() {
    let mut command = Update::new("web");
    command.from_file("limits.json");
    assert_snapshot!(rendered(&command, &[Update::FLAGS]), @r"
        oci update
        --from-file limits.json web
    ");
}

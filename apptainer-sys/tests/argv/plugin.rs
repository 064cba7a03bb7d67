//! `apptainer plugin ..`

use apptainer_sys::command::plugin::{
    Compile, Create, Disable, Enable, Inspect, Install, List, Uninstall,
};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn compile() {
    let mut command = Compile::new("/srv/plugin");
    command.out("plugin.sif").tmpdir("/var/tmp");
    assert_snapshot!(rendered(&command, &[Compile::FLAGS]), @r"
        plugin compile
        --out plugin.sif
        --tmpdir /var/tmp /srv/plugin
    ");
}

#[test]
fn create() {
    assert_snapshot!(rendered(&Create::new("/srv/plugin", "tool"), &[]), @"plugin create /srv/plugin tool");
}

#[test]
fn disable() {
    assert_snapshot!(rendered(&Disable::new("tool"), &[]), @"plugin disable tool");
}

#[test]
fn enable() {
    assert_snapshot!(rendered(&Enable::new("tool"), &[]), @"plugin enable tool");
}

#[test]
fn uninstall() {
    assert_snapshot!(rendered(&Uninstall::new("tool"), &[]), @"plugin uninstall tool");
}

#[test]
fn inspect() {
    assert_snapshot!(rendered(&Inspect::new("example.org/log"), &[]), @"plugin inspect example.org/log");
}

#[test]
fn install() {
    assert_snapshot!(rendered(&Install::new("a.sif"), &[]), @"plugin install a.sif");
}

#[test]
fn list() {
    assert_snapshot!(rendered(&List::new(), &[]), @"plugin list");
}

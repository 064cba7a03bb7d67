//! `apptainer checkpoint ..`

use apptainer_sys::command::Home;
use apptainer_sys::command::checkpoint::{Create, Delete, Instance, List};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn create() {
    assert_snapshot!(rendered(&Create::new("tool"), &[]), @"checkpoint create tool");
}

#[test]
fn delete() {
    assert_snapshot!(rendered(&Delete::new("tool"), &[]), @"checkpoint delete tool");
}

#[test]
fn instance() {
    let mut command = Instance::new("tool");
    command.home(Home::new("/srv/home"));
    assert_snapshot!(rendered(&command, &[Instance::FLAGS]), @r"
        checkpoint instance
        --home /srv/home tool
    ");
}

#[test]
fn list() {
    assert_snapshot!(rendered(&List::new(), &[]), @"checkpoint list");
}

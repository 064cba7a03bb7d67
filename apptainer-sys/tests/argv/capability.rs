//! `apptainer capability ..`

use apptainer_sys::command::Capability;
use apptainer_sys::command::capability::{Add, Avail, Drop, List};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn add() {
    let mut command = Add::new([Capability::NetRaw, Capability::Chown]);
    command.group("staff").user("alice");
    assert_snapshot!(rendered(&command, &[Add::FLAGS]), @r"
        capability add
        --group staff
        --user alice CAP_NET_RAW,CAP_CHOWN
    ");
}

#[test]
fn avail() {
    assert_snapshot!(rendered(&Avail::all(), &[]), @"capability avail");
    assert_snapshot!(rendered(&Avail::of([Capability::NetRaw]), &[]), @"capability avail CAP_NET_RAW");
}

#[test]
fn drop() {
    let mut command = Drop::new([Capability::NetRaw]);
    command.group("staff").user("alice");
    assert_snapshot!(rendered(&command, &[Drop::FLAGS]), @r"
        capability drop
        --group staff
        --user alice CAP_NET_RAW
    ");
}

#[test]
fn list() {
    assert_snapshot!(rendered(&List::all(), &[]), @"capability list");
    assert_snapshot!(rendered(&List::of("alice"), &[]), @"capability list alice");
}

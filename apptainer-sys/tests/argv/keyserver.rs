//! `apptainer keyserver ..`

use apptainer_sys::command::keyserver::{Add, List, Login, Logout, Remove};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn add() {
    let mut command = Add::new("https://keys.example.org");
    command.keyserver.config("remote.yaml");
    command.insecure(true).order(1_u32);
    assert_snapshot!(rendered(&command, &[Add::FLAGS]), @r"
        keyserver
        --config remote.yaml add
        --insecure
        --order 1 https://keys.example.org
    ");
    assert_snapshot!(rendered(
        &Add::to_remote("work", "https://keys.example.org"),
        &[]
    ), @"keyserver add work https://keys.example.org");
}

#[test]
fn list() {
    let mut command = List::new();
    command.keyserver.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[List::FLAGS]), @r"
        keyserver
        --config remote.yaml list
    ");
    assert_snapshot!(rendered(&List::of_remote("work"), &[]), @"keyserver list work");
}

#[test]
fn login() {
    let mut command = Login::new("https://keys.example.org");
    command.keyserver.config("remote.yaml");
    command
        .password("secret")
        .password_stdin(true)
        .username("alice");
    assert_snapshot!(rendered(&command, &[Login::FLAGS]), @r"
        keyserver
        --config remote.yaml login
        --password secret
        --password-stdin
        --username alice https://keys.example.org
    ");
}

#[test]
fn logout() {
    let mut command = Logout::new("https://keys.example.org");
    command.keyserver.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[Logout::FLAGS]), @r"
        keyserver
        --config remote.yaml logout https://keys.example.org
    ");
}

#[test]
fn remove() {
    let mut command = Remove::new("https://keys.example.org");
    command.keyserver.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[Remove::FLAGS]), @r"
        keyserver
        --config remote.yaml remove https://keys.example.org
    ");
    assert_snapshot!(rendered(
        &Remove::from_remote("work", "https://keys.example.org"),
        &[]
    ), @"keyserver remove work https://keys.example.org");
}

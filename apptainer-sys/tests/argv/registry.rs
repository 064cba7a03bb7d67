//! `apptainer registry ..`

use apptainer_sys::command::registry::{List, Login, Logout};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn list() {
    let mut command = List::new();
    command.registry.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[List::FLAGS]), @r"
        registry
        --config remote.yaml list
    ");
}

#[test]
fn login() {
    let mut command = Login::new("oras://ghcr.io/a/tool:1");
    command.registry.config("remote.yaml");
    command
        .authfile("auth.json")
        .password("secret")
        .password_stdin(true)
        .username("alice");
    assert_snapshot!(rendered(&command, &[Login::FLAGS]), @r"
        registry
        --config remote.yaml login
        --authfile auth.json
        --password secret
        --password-stdin
        --username alice oras://ghcr.io/a/tool:1
    ");
}

#[test]
fn logout() {
    let mut command = Logout::new("oras://ghcr.io/a/tool:1");
    command.registry.config("remote.yaml");
    command.authfile("auth.json");
    assert_snapshot!(rendered(&command, &[Logout::FLAGS]), @r"
        registry
        --config remote.yaml logout
        --authfile auth.json oras://ghcr.io/a/tool:1
    ");
}

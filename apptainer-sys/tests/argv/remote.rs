//! `apptainer remote ..`

use apptainer_sys::command::remote::{
    Add, GetLoginPassword, List, Login, Logout, Remove, Status, Use,
};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn add() {
    let mut command = Add::new("tool", "oras://ghcr.io/a/tool:1");
    command.remote.config("remote.yaml");
    command
        .global(true)
        .insecure(true)
        .no_default(true)
        .no_login(true)
        .tokenfile("token");
    assert_snapshot!(rendered(&command, &[Add::FLAGS]), @r"
        remote
        --config remote.yaml add
        --global
        --insecure
        --no-default
        --no-login
        --tokenfile token tool oras://ghcr.io/a/tool:1
    ");
}

#[test]
fn get_login_password() {
    let mut command = GetLoginPassword::new();
    command.remote.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[GetLoginPassword::FLAGS]), @r"
        remote
        --config remote.yaml get-login-password
    ");
}

#[test]
fn list() {
    let mut command = List::new();
    command.remote.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[List::FLAGS]), @r"
        remote
        --config remote.yaml list
    ");
}

#[test]
fn login() {
    let mut command = Login::new();
    command.remote.config("remote.yaml");
    command
        .insecure(true)
        .password("secret")
        .password_stdin(true)
        .tokenfile("token")
        .username("alice");
    assert_snapshot!(rendered(&command, &[Login::FLAGS]), @r"
        remote
        --config remote.yaml login
        --insecure
        --password secret
        --password-stdin
        --tokenfile token
        --username alice
    ");
    assert_snapshot!(rendered(&Login::to("tool"), &[]), @"remote login tool");
}

#[test]
fn logout() {
    let mut command = Logout::new();
    command.remote.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[Logout::FLAGS]), @r"
        remote
        --config remote.yaml logout
    ");
    assert_snapshot!(rendered(&Logout::of("tool"), &[]), @"remote logout tool");
}

#[test]
fn remove() {
    let mut command = Remove::new("tool");
    command.remote.config("remote.yaml");
    command.global(true);
    assert_snapshot!(rendered(&command, &[Remove::FLAGS]), @r"
        remote
        --config remote.yaml remove
        --global tool
    ");
}

#[test]
fn status() {
    let mut command = Status::new();
    command.remote.config("remote.yaml");
    assert_snapshot!(rendered(&command, &[Status::FLAGS]), @r"
        remote
        --config remote.yaml status
    ");
    assert_snapshot!(rendered(&Status::of("tool"), &[]), @"remote status tool");
}

#[test]
fn use_remote() {
    let mut command = Use::new("tool");
    command.remote.config("remote.yaml");
    command.exclusive(true).global(true);
    assert_snapshot!(rendered(&command, &[Use::FLAGS]), @r"
        remote
        --config remote.yaml use
        --exclusive
        --global tool
    ");
}

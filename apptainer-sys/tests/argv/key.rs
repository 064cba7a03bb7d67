//! `apptainer key ..`

use apptainer_sys::command::key::{
    Export, Import, List, NewPair, Pull, Push, Remove, Search, Upload,
};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn export() {
    let mut command = Export::new("a.sif");
    command
        .armor(true)
        .global(true)
        .keysdir("/srv/keys")
        .secret(true);
    assert_snapshot!(rendered(&command, &[Export::FLAGS]), @r"
        key export
        --armor
        --global
        --keysdir /srv/keys
        --secret a.sif
    ");
}

#[test]
fn import() {
    let mut command = Import::new("a.sif");
    command.global(true).keysdir("/srv/keys").new_password(true);
    assert_snapshot!(rendered(&command, &[Import::FLAGS]), @r"
        key import
        --global
        --keysdir /srv/keys
        --new-password a.sif
    ");
}

#[test]
fn list() {
    let mut command = List::new();
    command.global(true).keysdir("/srv/keys").secret(true);
    assert_snapshot!(rendered(&command, &[List::FLAGS]), @r"
        key list
        --global
        --keysdir /srv/keys
        --secret
    ");
}

#[test]
fn newpair() {
    let mut command = NewPair::new();
    command
        .bit_length(2048_u32)
        .comment("work")
        .email("alice@example.org")
        .keysdir("/srv/keys")
        .name("tool")
        .password("secret")
        .push(Upload::Yes);
    assert_snapshot!(rendered(&command, &[]), @r"
        key newpair
        --bit-length 2048
        --comment work
        --email alice@example.org
        --keysdir /srv/keys
        --name tool
        --password secret
        --push=true
    ");
}

#[test]
fn pull() {
    let mut command = Pull::new("433FE984");
    command
        .global(true)
        .keysdir("/srv/keys")
        .url("https://keys.example.org");
    assert_snapshot!(rendered(&command, &[Pull::FLAGS]), @r"
        key pull
        --global
        --keysdir /srv/keys
        --url https://keys.example.org 433FE984
    ");
}

#[test]
fn push() {
    let mut command = Push::new("433FE984");
    command
        .global(true)
        .keysdir("/srv/keys")
        .url("https://keys.example.org");
    assert_snapshot!(rendered(&command, &[Push::FLAGS]), @r"
        key push
        --global
        --keysdir /srv/keys
        --url https://keys.example.org 433FE984
    ");
}

#[test]
fn remove() {
    let mut command = Remove::public("433FE984");
    command.global(true).keysdir("/srv/keys");
    assert_snapshot!(rendered(&command, &[]), @r"
        key remove
        --global
        --keysdir /srv/keys
        --public 433FE984
    ");
    assert_snapshot!(rendered(&Remove::secret("433FE984"), &[]), @r"
        key remove
        --secret 433FE984
    ");
    assert_snapshot!(rendered(&Remove::both("433FE984"), &[]), @r"
        key remove
        --both 433FE984
    ");
}

#[test]
fn search() {
    let mut command = Search::new("alice");
    command.long_list(true).url("https://keys.example.org");
    assert_snapshot!(rendered(&command, &[Search::FLAGS]), @r"
        key search
        --long-list
        --url https://keys.example.org alice
    ");
}

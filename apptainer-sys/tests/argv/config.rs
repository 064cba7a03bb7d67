//! `apptainer config ..`

use apptainer_sys::command::config::{Fakeroot, Global};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn fakeroot() {
    assert_snapshot!(rendered(&Fakeroot::add("alice"), &[]), @r"
        config fakeroot
        --add alice
    ");
    assert_snapshot!(rendered(&Fakeroot::remove("alice"), &[]), @r"
        config fakeroot
        --remove alice
    ");
    assert_snapshot!(rendered(&Fakeroot::enable("alice"), &[]), @r"
        config fakeroot
        --enable alice
    ");
    assert_snapshot!(rendered(&Fakeroot::disable("alice"), &[]), @r"
        config fakeroot
        --disable alice
    ");
}

#[test]
fn global() {
    let mut command = Global::get("allow setuid");
    command.dry_run(true);
    assert_snapshot!(rendered(&command, &[]), @r"
        config global
        --dry-run
        --get allow setuid
    ");
    assert_snapshot!(rendered(&Global::set("allow setuid", "no"), &[]), @r"
        config global
        --set allow setuid no
    ");
    assert_snapshot!(rendered(&Global::remove("allow setuid", "no"), &[]), @r"
        config global
        --unset allow setuid no
    ");
    assert_snapshot!(rendered(&Global::reset("allow setuid"), &[]), @r"
        config global
        --reset allow setuid
    ");
}

//! What only tells.

use apptainer_sys::command::{BuildCfg, Inspect, PrintVersion, Subcommand};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn inspect_with_every_flag() {
    let mut inspect = Inspect::new("a.sif");
    inspect
        .all(true)
        .app("tool")
        .deffile(true)
        .environment(true)
        .helpfile(true)
        .json(true)
        .labels(true)
        .list_apps(true)
        .runscript(true)
        .startscript(true)
        .test(true);
    assert_snapshot!(rendered(&inspect, &[Inspect::FLAGS]), @r"
        inspect
        --all
        --app tool
        --deffile
        --environment
        --helpfile
        --json
        --labels
        --list-apps
        --runscript
        --startscript
        --test a.sif
    ");
}

#[test]
fn buildcfg() {
    assert_eq!(BuildCfg::all().argv(), ["buildcfg"]);
    assert_eq!(
        BuildCfg::parameter("SYSCONFDIR").argv(),
        ["buildcfg", "SYSCONFDIR"]
    );
}

#[test]
fn version() {
    assert_eq!(PrintVersion::new().argv(), ["version"]);
}

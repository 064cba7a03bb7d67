//! Apptainer's own cache.

use apptainer_sys::command::cache::{Clean, Kind, List};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn list() {
    let mut list = List::new();
    list.kind(Kind::Blob).kind(Kind::OciTmp).verbose(true);
    assert_snapshot!(rendered(&list, &[List::FLAGS]), @r"
        cache list
        --type blob
        --type oci-tmp
        --verbose
    ");
}

#[test]
fn clean() {
    let mut clean = Clean::new();
    clean
        .days(30_u32)
        .dry_run(true)
        .force(true)
        .kind(Kind::Blob)
        .kind(Kind::OciTmp);
    assert_snapshot!(rendered(&clean, &[Clean::FLAGS]), @r"
        cache clean
        --days 30
        --dry-run
        --force
        --type blob
        --type oci-tmp
    ");
}

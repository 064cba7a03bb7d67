//! `apptainer overlay ..`

use apptainer_sys::command::overlay::Create;
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn create() {
    let mut command = Create::new("a.sif");
    command
        .create_dir("/data")
        .create_dir("/a,b")
        .fakeroot(true)
        .size(128_u32)
        .sparse(true)
        .tmpdir("/var/tmp");
    assert_snapshot!(rendered(&command, &[Create::FLAGS]), @r#"
        overlay create
        --create-dir /data
        --create-dir "/a,b"
        --fakeroot
        --size 128
        --sparse
        --tmpdir /var/tmp a.sif
    "#);
}

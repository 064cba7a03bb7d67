//! SIF files: none makes the reader panic, or read outside of what it says.
#![no_main]

use std::io::Cursor;

use apptainer_sys::sif::Sif;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(sif) = Sif::read(&mut Cursor::new(bytes)) else {
        return;
    };
    for descriptor in sif.descriptors() {
        let end = descriptor.end().expect("it was checked");
        assert!(end <= bytes.len() as u64);
        let _ = descriptor.to_string();
    }
});

//! Frames: no bytes make the reader panic, and what it reads is written the same.
#![no_main]

#[allow(dead_code)]
#[path = "../../agent/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../../agent/protocol.rs"]
mod protocol;

use frame::{HEADER, Header, Kind, MAX_PAYLOAD};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // As a stream: each header says where the next one is.
    let mut rest = bytes;
    while let Some((bytes, behind)) = rest.split_first_chunk::<HEADER>() {
        let Ok(header) = Header::decode(bytes) else {
            return;
        };
        assert_eq!(header.encode(), *bytes);
        assert!(header.length as usize <= MAX_PAYLOAD);
        assert!(header.channel != 0 || header.kind == Kind::Message);
        let Some(behind) = behind.get(header.length as usize..) else {
            return;
        };
        rest = behind;
    }
});

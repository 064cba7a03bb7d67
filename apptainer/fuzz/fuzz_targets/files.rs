//! Messages of file servers: no bytes make the reader panic, and what it reads is written the
//! same.
#![no_main]

#[allow(dead_code)]
#[path = "../../agent/codec.rs"]
mod codec;
#[allow(dead_code)]
#[path = "../../agent/files_protocol.rs"]
mod files_protocol;
#[allow(dead_code)]
#[path = "../../agent/protocol.rs"]
mod protocol;

use files_protocol::{FileReply, FileRequest};
use libfuzzer_sys::fuzz_target;
use protocol::Sink;

struct Written(Vec<u8>);

impl Sink for Written {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = FileRequest::decode(bytes) {
        let mut written = Written(Vec::new());
        request.encode(&mut written);
        assert_eq!(written.0, bytes);
    }
    if let Ok(reply) = FileReply::decode(bytes) {
        let mut written = Written(Vec::new());
        reply.encode(&mut written);
        assert_eq!(written.0, bytes);
    }
});

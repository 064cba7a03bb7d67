//! Messages: no bytes make the reader panic, and what it reads is written the same.
#![no_main]

#[allow(dead_code)]
#[path = "../../agent/codec.rs"]
mod codec;
#[allow(dead_code)]
#[path = "../../agent/protocol.rs"]
mod protocol;

use libfuzzer_sys::fuzz_target;
use protocol::{MAX_LIMITS, Reply, Request, Sink, flags};

struct Written(Vec<u8>);

impl Sink for Written {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::decode(bytes) {
        let mut written = Written(Vec::new());
        request.encode(&mut written);
        assert_eq!(written.0, bytes);
        if let Request::Spawn(spawn) = request {
            assert!(spawn.limits.iter().count() <= MAX_LIMITS);
            let is_apart = spawn.flags & flags::WORDS_APART != 0;
            assert!(is_apart || spawn.are_words(spawn.words));
            let _ = spawn.are_words(bytes);
        }
    }
    if let Ok(reply) = Reply::decode(bytes) {
        let mut written = Written(Vec::new());
        reply.encode(&mut written);
        assert_eq!(written.0, bytes);
        assert!(bytes.len() <= Reply::MAX);
    }
});

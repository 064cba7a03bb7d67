//! Room for going down into directories, however deep somebody has made them.

use std::io;
use std::thread::{Builder, scope};

/// Enough for two thousand, which is what paths have room for.
const STACK: usize = 64 << 20;

/// Does this with room on the stack that is taken as it is used.
pub(super) fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    scope(|scope| {
        let thread = Builder::new().stack_size(STACK).spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(done) => Ok(done),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

//! What a stream of output takes of the allocator. A program of its own, for it counts.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;

use allocation_counter::measure;
use apptainer::exec::{Chunk, OutputStream};
use apptainer::{Child, Link, Stdio};
use fixtures::World;
use tokio::runtime::Builder;

/// A command that writes 256 MiB, and its stream.
async fn start(link: &Link) -> (Child, OutputStream) {
    let mut dd = link.command("dd");
    dd.args(["if=/dev/zero", "bs=64k", "count=4096"]);
    dd.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = dd.spawn().await.unwrap();
    let stream = child.stream().unwrap();
    (child, stream)
}

/// Streams, and hands the chunks on; how many there were.
async fn chunks(stream: &mut OutputStream, mut give: impl FnMut(Chunk)) -> u64 {
    let (mut count, mut bytes) = (0, 0);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.unwrap();
        (count, bytes) = (count + 1, bytes + chunk.bytes.len());
        give(chunk);
    }
    assert_eq!(bytes, 256 << 20);
    count
}

#[test]
fn a_chunk_takes_at_most_one_and_none_where_it_is_not_kept() {
    // On this thread alone, where they are counted.
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let link = runtime.block_on(async { world.container().await.link().await.unwrap() });

    let (mut child, mut stream) = runtime.block_on(start(&link));
    let mut count = 0;
    let dropped = measure(|| count = runtime.block_on(chunks(&mut stream, drop)));
    assert!(count > 500, "{count}");
    assert!(dropped.count_total < count / 10, "{dropped:?} for {count}");
    runtime.block_on(child.wait()).unwrap();

    let (mut child, mut stream) = runtime.block_on(start(&link));
    let mut kept = VecDeque::with_capacity(17);
    let held = measure(|| {
        count = runtime.block_on(chunks(&mut stream, |chunk| {
            kept.push_back(chunk);
            kept.drain(..kept.len().saturating_sub(16));
        }));
    });
    assert!(held.count_total <= count, "{held:?} for {count}");
    runtime.block_on(child.wait()).unwrap();

    runtime.block_on(link.close()).unwrap();
    world.finish();
}

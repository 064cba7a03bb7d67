//! Bytes, both ways.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Far, GUARD, bytes, ended, piped, sh};

#[tokio::test]
async fn much_goes_up_and_comes_down_as_it_was() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut child = piped(&mut far.link.command("cat")).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let sent = bytes(64 << 20);
    let mut received = Vec::with_capacity(sent.len());
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    };
    let both = async { tokio::join!(write, stdout.read_to_end(&mut received)) };
    let ((), read) = timeout(2 * GUARD, both).await.expect("it goes on");
    assert_eq!(read.unwrap(), sent.len());
    assert!(received == sent, "they differ");
    assert!(ended(&mut child).await.success());
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_command_may_take_back_what_it_has_written() {
    let world = World::new().await;
    let gate = Arc::new(Mutex::new(()));
    let far = Far::through(&world, Arc::clone(&gate)).await;
    let closed = gate.lock().await;
    // Until one of them waits in the middle of what it had said it would send.
    let script = "(sleep 1; cat </proc/self/fd/1 >/dev/null) & head -c 2000000 /dev/zero";
    let running = [(); 2].map(|()| {
        let mut command = sh(&far.link, script);
        tokio::spawn(async move { command.output().await })
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(closed);
    for running in running {
        let output = timeout(GUARD, running).await.expect("it ends");
        let output = output.unwrap().unwrap();
        assert!(output.status.success());
        assert!(output.stdout.len() < 2_000_000, "it has taken nothing");
    }
    far.link.ping().await.unwrap();
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_stream_that_nobody_reads_holds_up_itself_alone() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut idle = sh(&far.link, "cat /dev/zero");
    let mut idle = piped(&mut idle).spawn().await.unwrap();
    let mut unread = idle.stdout.take().unwrap();
    unread.read_exact(&mut [0; 1]).await.unwrap();
    // Nor does one that nobody reads in the container.
    let mut deaf = sh(&far.link, "sleep 1000");
    let mut deaf = piped(&mut deaf).spawn().await.unwrap();
    let mut unheard = deaf.stdin.take().unwrap();
    let stuck = timeout(
        Duration::from_millis(300),
        unheard.write_all(&bytes(4 << 20)),
    )
    .await;
    assert!(stuck.is_err(), "somebody has read it");

    let mut busy = far.link.command("dd");
    busy.args(["if=/dev/zero", "bs=1M", "count=64"]);
    let output = timeout(GUARD, busy.output()).await.expect("it goes on");
    assert_eq!(output.unwrap().stdout.len(), 64 << 20);
    assert!(
        sh(&far.link, "exit 0")
            .output()
            .await
            .unwrap()
            .status
            .success()
    );

    // And it goes on when it is read.
    let mut rest = vec![0; 8 << 20];
    let read = timeout(GUARD, unread.read_exact(&mut rest)).await;
    read.expect("it goes on").unwrap();
    idle.kill().await.unwrap();
    deaf.kill().await.unwrap();
    drop((idle, deaf));
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_reader_that_stops_makes_the_command_wait() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let count = world.folder().join("count");
    // Counts what it has written, in a file that we can see.
    let script = format!(
        "i=0; while :; do printf '%01023d\\n' 0; i=$((i+1)); echo $i > {}; done",
        count.display()
    );
    let mut command = sh(&far.link, &script);
    let mut child = piped(&mut command).spawn().await.unwrap();
    let count = || {
        let text = fs::read_to_string(&count).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    let stopped = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = count();
            if now == before && now > 0 {
                return now;
            }
            before = now;
        }
    };
    let written = timeout(GUARD, stopped).await.expect("it stops");
    // A window here, and a pipe of as much there.
    assert!(written <= 600, "{written} KiB went nowhere");
    child.kill().await.unwrap();
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn standard_input_ends_when_it_is_dropped_and_output_goes_on() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "cat; echo ended; cat /dev/zero | head -c 300000");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(b"first").await.unwrap();
    let mut echoed = [0; 5];
    stdout.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"first");
    drop(stdin);
    let mut rest = Vec::new();
    timeout(GUARD, stdout.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .unwrap();
    assert_eq!(&rest[..6], b"ended\n");
    assert_eq!(rest.len(), 6 + 300_000);
    assert!(ended(&mut child).await.success());
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn a_reader_or_writer_that_goes_away_breaks_a_pipe() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut command = sh(&far.link, "while :; do echo y || exit 5; done");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 10]).await.unwrap();
    drop(stdout);
    assert!(!ended(&mut child).await.success());

    let mut command = sh(&far.link, "exec <&-; sleep 1000");
    let mut child = piped(&mut command).spawn().await.unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let written = async {
        loop {
            if let Err(error) = stdin.write_all(b"nobody reads this").await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let error = timeout(GUARD, written).await.expect("it breaks");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    child.kill().await.unwrap();
    drop(child);
    far.close().await;
    world.finish();
}

#[tokio::test]
async fn many_commands_share_one_stream() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200_u16 {
        let link = far.link.clone();
        tasks.spawn(async move {
            let script = format!(
                "head -c {} /dev/zero; exit {}",
                u32::from(number) * 1000,
                number % 100
            );
            let output = sh(&link, &script).output().await.unwrap();
            assert_eq!(output.stdout.len(), usize::from(number) * 1000);
            assert_eq!(output.status.code(), Some(i32::from(number % 100)));
        });
    }
    let all = timeout(2 * GUARD, tasks.join_all()).await;
    assert_eq!(all.expect("they end").len(), 200);
    far.close().await;
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_go_both_ways_at_once() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=16 {
        let link = far.link.clone();
        tasks.spawn(async move {
            let mut command = sh(&link, "tee /dev/stderr");
            let mut child = piped(&mut command).spawn().await.unwrap();
            let mut stdin = child.stdin.take().unwrap();
            let mut stdout = child.stdout.take().unwrap();
            let mut stderr = child.stderr.take().unwrap();
            let sent = bytes(number * 100_003);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let write = async {
                // In parts of all sizes, small ones too.
                for part in sent.chunks(1 << number) {
                    stdin.write_all(part).await.unwrap();
                }
                drop(stdin);
            };
            let read =
                async { tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
            let ((), read) = tokio::join!(write, read);
            read.0.unwrap();
            read.1.unwrap();
            assert!(out == sent && err == sent, "{number}: they differ");
            assert!(child.wait().await.unwrap().success());
        });
    }
    let all = timeout(2 * GUARD, tasks.join_all()).await;
    assert_eq!(all.expect("they end").len(), 16);
    far.close().await;
    world.finish();
}

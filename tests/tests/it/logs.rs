//! What instances write.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use apptainer::Container;
use apptainer::exec::Source;
use apptainer::instance::{Instance, LogLines};
use fixtures::World;

/// What these scripts start does not heed `SIGTERM`, but they may.
const GRACE: Duration = Duration::from_secs(1);

/// A container whose instances run a script.
async fn with_script(world: &World, script: &str) -> Container {
    let path = world.folder().join("startscript");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let container = world.container().await;
    container.bind_read_only(path, "/.singularity.d/startscript")
}

/// The next line's source and text. Guards against hanging.
async fn next(lines: &mut LogLines) -> Option<(Source, String)> {
    let next = tokio::time::timeout(Duration::from_secs(60), lines.next());
    let line = next.await.expect("there is a line").transpose().unwrap()?;
    Some((line.source, line.text().into_owned()))
}

async fn all(mut lines: LogLines) -> Vec<(Source, String)> {
    let mut found = Vec::new();
    while let Some(line) = next(&mut lines).await {
        found.push(line);
    }
    found
}

/// Waits until an instance has written a line.
async fn written(instance: &Instance, text: &str) {
    let mut lines = instance.read_logs().follow(true).lines().await.unwrap();
    while next(&mut lines).await.expect("it runs").1 != text {}
}

#[tokio::test]
async fn both_outputs_are_read_and_followed_until_it_is_stopped() {
    let world = World::new().await;
    let script = "echo ready; echo trouble >&2; \
        trap 'echo bye; exit' TERM; n=0; \
        while :; do echo tick $n; n=$((n+1)); sleep 0.1; done";
    let instance = with_script(&world, script).await.start().await.unwrap();
    let mut out = instance
        .read_logs()
        .stderr(false)
        .follow(true)
        .lines()
        .await
        .unwrap();
    assert_eq!(next(&mut out).await.unwrap().1, "ready");
    for n in 0..5 {
        assert_eq!(
            next(&mut out).await.unwrap(),
            (Source::Stdout, format!("tick {n}"))
        );
    }
    let err = instance.read_logs().stdout(false).lines().await.unwrap();
    assert_eq!(all(err).await, [(Source::Stderr, "trouble".to_owned())]);
    let last = instance
        .read_logs()
        .stderr(false)
        .tail(1)
        .lines()
        .await
        .unwrap();
    let last = all(last).await;
    assert_eq!(last.len(), 1);
    assert!(last[0].1.starts_with("tick "), "{last:?}");
    instance.stop_within(GRACE).await.unwrap();
    // Its logs are gone, for its name was generated; what is open is read all the same.
    let rest = all(out).await;
    let ticks = rest.iter().filter(|(_, text)| text.starts_with("tick "));
    let ticks = ticks.enumerate();
    for (n, (_, text)) in ticks {
        assert_eq!(*text, format!("tick {}", n + 5));
    }
    assert_eq!(rest.last().unwrap().1, "bye");
    world.finish();
}

#[tokio::test]
async fn what_an_earlier_one_of_its_name_wrote_is_not_of_it() {
    let world = World::new().await;
    let first = with_script(&world, "echo first; echo 1 >&2; sleep 1000").await;
    let instance = first.start_as("again").await.unwrap();
    written(&instance, "1").await;
    instance.stop_within(GRACE).await.unwrap();
    let second = with_script(&world, "echo second; echo 2 >&2; sleep 1000").await;
    let instance = second.start_as("again").await.unwrap();
    written(&instance, "2").await;
    let both = all(instance.read_logs().tail(100).lines().await.unwrap()).await;
    let texts: Vec<_> = both.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, ["second", "2"]);
    let files = instance
        .logs()
        .map(|path| fs::read_to_string(path).unwrap());
    assert_eq!(files, ["first\nsecond\n", "1\n2\n"]);
    instance.stop_within(GRACE).await.unwrap();
    world.finish();
}

#[tokio::test]
async fn much_is_read_in_order_while_it_is_written() {
    let world = World::new().await;
    let script = "n=0; while [ $n -lt 30000 ]; do echo out $n; echo err $n >&2; n=$((n+1)); done; \
        echo done; sleep 1000";
    let instance = with_script(&world, script).await.start().await.unwrap();
    let mut lines = instance.read_logs().follow(true).lines().await.unwrap();
    let mut counts = [0, 0];
    let mut is_done = false;
    while !is_done || counts != [30000, 30000] {
        let (source, text) = next(&mut lines).await.unwrap();
        let (index, prefix) = match source {
            Source::Stdout => (0, "out"),
            Source::Stderr => (1, "err"),
        };
        if text == "done" {
            is_done = true;
            continue;
        }
        assert_eq!(text, format!("{prefix} {}", counts[index]));
        counts[index] += 1;
    }
    drop(lines);
    instance.stop_within(GRACE).await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_follower_ends_when_the_instance_is_killed() {
    let world = World::new().await;
    let instance = with_script(&world, "echo up; sleep 1000")
        .await
        .start()
        .await
        .unwrap();
    let mut lines = instance.read_logs().follow(true).lines().await.unwrap();
    assert_eq!(next(&mut lines).await.unwrap().1, "up");
    drop(instance);
    assert_eq!(next(&mut lines).await, None);
    world.finish();
}

#[tokio::test]
async fn one_that_writes_much_at_once_is_started_all_the_same() {
    // `apptainer` passes on what it writes to standard error at first.
    let world = World::new().await;
    let script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; sleep 1000";
    let started = with_script(&world, script).await;
    let started = tokio::time::timeout(Duration::from_secs(60), started.start());
    let instance = started.await.expect("it is started").unwrap();
    instance.stop_within(GRACE).await.unwrap();
    world.finish();
}

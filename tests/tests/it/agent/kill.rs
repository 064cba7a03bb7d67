//! Commands that are ended over an agent, however they hide.

use std::time::{Duration, Instant};

use apptainer::exec::Resource;
use apptainer::sys::process::Signal;
use apptainer::{Child, Command, Stdio};
use fixtures::World;

use super::processes::{SOON, tag, tagged, until_tagged};
use super::ways::Ways;

/// Starts it, and waits until it has written something.
async fn begun(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().await.unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 6];
    tokio::io::AsyncReadExt::read_exact(&mut stdout, &mut first)
        .await
        .unwrap();
    assert_eq!(&first, b"begun\n");
    child.stdout = Some(stdout);
    child
}

/// Leaves processes in every relation to the command: its child, a grandchild without a
/// parent, one with a session of its own, one with both, and one after two forks and two
/// sessions.
const TREE: &str = r#"
sleep $0 &
(sleep $0 &)
setsid sleep $0 &
(setsid sleep $0 &)
setsid sh -c '(setsid sh -c "(sleep $0 &)" $0 &)' $0
echo begun
exec sleep $0
"#;
const COUNT: usize = 6;

#[tokio::test]
async fn killing_takes_what_has_left_its_session_and_its_parent_along() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    for (way, mut command) in ways.commands("sh") {
        let mut child = begun(command.args(["-c", TREE, &tag])).await;
        until_tagged(&tag, COUNT, SOON).await;
        child.kill().await.unwrap();
        assert_eq!(tagged(&tag), 0, "{way}");
        let status = child.wait().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn killing_one_command_leaves_the_others_alone() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    for ((way, mut first), (_, mut second)) in
        ways.commands("sh").into_iter().zip(ways.commands("sh"))
    {
        let mut first = begun(first.args(["-c", TREE, &tag])).await;
        let mut second = begun(second.args(["-c", TREE, &tag])).await;
        until_tagged(&tag, 2 * COUNT, SOON).await;
        first.kill().await.unwrap();
        // What is just becoming its program has no words for a moment.
        assert!(tagged(&tag) <= COUNT, "{way}");
        until_tagged(&tag, COUNT, SOON).await;
        assert_eq!(second.try_wait().unwrap(), None, "{way}");
        second.kill().await.unwrap();
        assert_eq!(tagged(&tag), 0, "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn dropping_takes_all_of_it_along() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    for (_, mut command) in ways.commands("sh") {
        let child = begun(command.args(["-c", TREE, &tag])).await;
        until_tagged(&tag, COUNT, SOON).await;
        drop(child);
        until_tagged(&tag, 0, SOON).await;
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_forks_for_ever_is_killed_whole() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    // Four runners, each of which starts its successor and ends: none is there for long,
    // and all lose their parents. Half of them also leave their session.
    let script = r#"
export HOP='sh -c "$HOP" $0 &' LEAP='setsid sh -c "$LEAP" $0 &'
sh -c "$HOP" $0; sh -c "$HOP" $0; sh -c "$LEAP" $0; sh -c "$LEAP" $0
echo begun
exec sleep $0
"#;
    for (way, mut command) in ways.commands("sh") {
        // Lest the machine suffer from a bug in this test.
        command.rlimit(Resource::Processes, 300, 300);
        let mut child = begun(command.args(["-c", script, &tag])).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let killed = tokio::time::timeout(Duration::from_secs(10), child.kill()).await;
        killed.expect("it does not take for ever").unwrap();
        for _ in 0..20 {
            assert_eq!(tagged(&tag), 0, "{way}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_signal_goes_to_all_of_it_and_a_groups_signal_to_its_group() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let script = r#"
setsid sh -c 'trap "echo other" USR1; trap "exit 0" USR2; echo ready; while :; do sleep 0.02; done' &
trap 'echo main' USR1
trap 'exit 9' USR2
while :; do sleep 0.02; done
"#;
    for (way, mut command) in ways.commands("sh") {
        let mut child = command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        let mut said = async |expected: &[&str]| {
            let wanted: usize = expected.iter().map(|word| word.len()).sum();
            let mut text = String::new();
            while text.len() < wanted {
                let chunk = tokio::time::timeout(Duration::from_secs(10), stream.next()).await;
                let chunk = chunk.unwrap_or_else(|_| panic!("{way}: only {text:?}"));
                text += str::from_utf8(&chunk.unwrap().unwrap().bytes).unwrap();
            }
            for word in expected {
                assert!(text.contains(word), "{way}: {text:?}");
            }
        };
        said(&["ready\n"]).await;
        child.signal_group(Signal::USR1).unwrap();
        said(&["main\n"]).await;
        // Had the other got it too, it would have said so by now.
        tokio::time::sleep(Duration::from_millis(200)).await;
        child.signal(Signal::USR1).unwrap();
        said(&["main\n", "other\n"]).await;
        child.signal(Signal::USR2).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(9), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_timeout_ends_what_ignores_sigterm_wherever_it_is() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    let stubborn = r#"trap "" TERM; "#.to_owned() + TREE;
    for (way, mut command) in ways.commands("sh") {
        let started = Instant::now();
        let output = command
            .args(["-c", &stubborn, &tag])
            .timeout(Duration::from_millis(700))
            .grace(Duration::from_millis(300))
            .output()
            .await
            .unwrap();
        assert!(output.timed_out, "{way}");
        assert_eq!(output.stdout, "begun\n", "{way}");
        assert_eq!(output.status.signal(), Some(Signal::KILL), "{way}");
        assert_eq!(tagged(&tag), 0, "{way}");
        assert!(started.elapsed() < Duration::from_secs(5), "{way}");
    }
    // The command obeys, the rest of it does not.
    let script =
        "(trap '' TERM; setsid sleep $0) & (trap '' TERM; sleep $0) & echo begun; exec sleep $0";
    for (way, mut command) in ways.commands("sh") {
        let output = command
            .args(["-c", script, &tag])
            .timeout(Duration::from_millis(500))
            .grace(Duration::from_secs(60))
            .output()
            .await
            .unwrap();
        assert!(output.timed_out, "{way}");
        assert_eq!(output.status.signal(), Some(Signal::TERM), "{way}");
        assert_eq!(tagged(&tag), 0, "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_has_hidden_its_mark_too_ends_with_its_agent() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let tag = tag();
    // No parent, no session, and an empty environment: nothing tells whose it is.
    let script = "(env -i setsid sleep $0 &); echo begun";
    for (_, mut command) in ways.commands("sh") {
        let mut child = begun(command.args(["-c", script, &tag])).await;
        assert!(child.wait().await.unwrap().success());
    }
    until_tagged(&tag, 2, SOON).await;
    ways.link.close().await.unwrap();
    assert_eq!(tagged(&tag), 1, "the link's is gone");
    ways.instance.stop().await.unwrap();
    assert_eq!(tagged(&tag), 0, "and so is the instance's");
    world.finish();
}

//! Commands that are ended, and leave nothing.

use std::time::{Duration, Instant};

use apptainer::exec::Mechanism;
use apptainer::sys::process::{Process, Signal};
use apptainer::{Command, Contain, Container, Instance, Stdio};
use fixtures::World;

/// The places that a command can run in, each with a tree of its own shape.
struct Places {
    plain: Container,
    contained: Container,
    instance: Instance,
}

impl Places {
    async fn of(world: &World) -> Self {
        let plain = world.container().await;
        Self {
            contained: plain.clone().contain(Contain::All),
            instance: plain.start().await.unwrap(),
            plain,
        }
    }

    fn commands(&self, program: &str) -> [(&'static str, Command); 3] {
        [
            ("plain", self.plain.command(program)),
            ("contained", self.contained.command(program)),
            ("instance", self.instance.command(program)),
        ]
    }

    async fn finish(self, world: World) {
        self.instance.stop().await.unwrap();
        world.finish();
    }
}

#[tokio::test]
async fn time_that_is_over_ends_a_command_with_its_output_so_far() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("sh") {
        let started = Instant::now();
        let output = command
            .args([
                "-c",
                "trap 'echo trapped; exit 4' TERM; echo begun; while :; do sleep 0.1; done",
            ])
            .timeout(Duration::from_millis(1500))
            .output()
            .await
            .unwrap();
        assert!(output.timed_out, "{place}");
        assert_eq!(&output.stdout[..], b"begun\ntrapped\n", "{place}");
        assert_eq!(output.status.code(), Some(4), "{place}");
        assert!(started.elapsed() < Duration::from_secs(6), "{place}");
    }
    places.finish(world).await;
}

#[tokio::test]
async fn what_ignores_term_is_killed_when_its_grace_is_over() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("sh") {
        let output = command
            .args(["-c", "trap '' TERM; echo begun; while :; do sleep 1; done"])
            .timeout(Duration::from_millis(800))
            .grace(Duration::from_millis(300))
            .output()
            .await
            .unwrap();
        assert!(output.timed_out, "{place}");
        assert_eq!(&output.stdout[..], b"begun\n", "{place}");
        assert!(!output.status.success(), "{place}");
    }
    places.finish(world).await;
}

#[tokio::test]
async fn a_command_that_ends_in_time_has_not_timed_out() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("true") {
        let output = command
            .timeout(Duration::from_secs(60))
            .output()
            .await
            .unwrap();
        assert!(!output.timed_out && output.status.success(), "{place}");
    }
    places.finish(world).await;
}

#[tokio::test]
async fn killing_takes_children_and_grandchildren_along() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    let script = "sh -c 'sleep 1001 & sleep 1001' & (sleep 1001 &); echo begun; wait";
    for (place, mut command) in places.commands("sh") {
        let mut child = command
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        assert!(stream.next().await.is_some(), "{place}");
        while sleepers("1001") < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().await.unwrap();
        assert!(!child.wait().await.unwrap().success(), "{place}");
        assert_eq!(sleepers("1001"), 0, "{place}");
    }
    places.finish(world).await;
}

#[tokio::test]
async fn a_timeout_ends_what_ignores_sigterm_too() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    let script = "(trap '' TERM; sleep 1002) & echo begun; exec sleep 1002";
    for (place, mut command) in places.commands("sh") {
        let output = command
            .args(["-c", script])
            .timeout(Duration::from_secs(1))
            .output()
            .await
            .unwrap();
        assert!(output.timed_out, "{place}");
        assert_eq!(output.stdout, "begun\n", "{place}");
        assert_eq!(sleepers("1002"), 0, "{place}");
    }
    places.finish(world).await;
}

/// How many run of `sleep SECONDS`.
fn sleepers(seconds: &str) -> usize {
    let is_one = |process: &&Process| {
        let words = Process::command_line(process.pid)
            .unwrap()
            .unwrap_or_default();
        let [program, argument] = &words[..] else {
            return false;
        };
        // Apptainer gives a program its path as its name.
        program.ends_with(b"sleep") && argument == seconds.as_bytes()
    };
    Process::all().unwrap().iter().filter(is_one).count()
}

#[tokio::test]
async fn a_dropped_command_is_killed_and_reaped() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("sleep") {
        let child = command.arg("1003").spawn().await.unwrap();
        let pid = child.id().unwrap();
        let of_host = (child.mechanism() == Mechanism::Cli).then_some(pid);
        while sleepers("1003") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(child);
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_there = |pid| Process::read(pid).unwrap().is_some();
        while sleepers("1003") > 0 || of_host.is_some_and(is_there) {
            assert!(
                Instant::now() < deadline,
                "{place}: still there, or a zombie"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    places.finish(world).await;
}

#[tokio::test]
async fn a_future_dropped_at_any_moment_leaves_nothing() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    // From before Apptainer has begun to long after the command has.
    for moment in (0..200).step_by(9) {
        for (_, mut command) in places.commands("sleep") {
            let output = command.arg("1000").output();
            let cut = tokio::time::timeout(Duration::from_millis(moment), output).await;
            assert!(cut.is_err(), "{moment}: {cut:?}");
        }
    }
    places.finish(world).await;
}

#[tokio::test]
async fn a_signal_reaches_the_command_and_not_its_wrapper() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("sh") {
        let mut child = command
            .args([
                "-c",
                "trap 'echo caught; exit 9' USR1; echo begun; while :; do sleep 0.1; done",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        assert_eq!(
            &stream.next().await.unwrap().unwrap().bytes[..],
            b"begun\n",
            "{place}"
        );
        child.signal(Signal::USR1).unwrap();
        assert_eq!(
            &stream.next().await.unwrap().unwrap().bytes[..],
            b"caught\n",
            "{place}"
        );
        assert_eq!(child.wait().await.unwrap().code(), Some(9), "{place}");
        child
            .signal(Signal::USR1)
            .expect("nobody is there any more, which is no error");
    }
    places.finish(world).await;
}

#[test]
fn a_runtime_that_goes_down_takes_its_commands_along() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = runtime.block_on(async {
        let world = World::new().await;
        let container = world.container().await;
        tokio::spawn(async move {
            let _ = container.command("sleep").arg("1000").output().await;
        });
        tokio::time::sleep(Duration::from_millis(400)).await;
        world
    });
    drop(runtime);
    world.finish();
}

#[tokio::test]
async fn a_dropped_command_is_killed_though_its_output_is_still_read() {
    let world = World::new().await;
    let places = Places::of(&world).await;
    for (place, mut command) in places.commands("sh") {
        let mut child = command
            .args(["-c", "echo ready; while :; do sleep 0.1; done"])
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut stream = child.stream().unwrap();
        assert!(stream.next().await.is_some(), "{place}");
        drop(child);
        let rest = async { while stream.next().await.is_some() {} };
        let ended = tokio::time::timeout(Duration::from_secs(20), rest).await;
        assert!(ended.is_ok(), "{place}");
    }
    places.finish(world).await;
}

//! Output line by line, and output of which only so much is kept.

use std::time::Duration;

use apptainer::exec::{Line, Source};
use apptainer::{Command, Instance, Link, Stdio};
use fixtures::World;

/// By an agent and without one.
struct Ways {
    link: Link,
    instance: Instance,
}

impl Ways {
    async fn of(world: &World) -> Self {
        let container = world.container().await;
        Self {
            link: container.link().await.unwrap(),
            instance: container.start().await.unwrap(),
        }
    }

    fn commands(&self, program: &str) -> [(&'static str, Command); 2] {
        let mut by_cli = self.instance.command(program);
        by_cli.mechanism(apptainer::exec::Mechanism::Cli);
        [("agent", self.link.command(program)), ("cli", by_cli)]
    }

    async fn finish(self, world: World) {
        self.link.close().await.unwrap();
        self.instance.stop().await.unwrap();
        world.finish();
    }
}

fn piped(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::piped()).stderr(Stdio::piped())
}

fn of(source: Source, lines: &[Line]) -> Vec<(String, bool)> {
    let lines = lines.iter().filter(|line| line.source == source);
    lines
        .map(|line| (line.text().into_owned(), line.is_complete))
        .collect()
}

#[tokio::test]
async fn lines_of_both_outputs_come_whole_and_in_order() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let script = "for n in 1 2 3; do echo out $n; printf 'err %s\\r\\n' $n >&2; done; printf last";
    for (way, mut command) in ways.commands("sh") {
        let mut child = piped(command.args(["-c", script])).spawn().await.unwrap();
        let mut lines = child.lines().unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line.unwrap());
        }
        assert!(!lines.is_cut());
        let complete = |text: &str| (text.to_owned(), true);
        let mut expected = ["out 1", "out 2", "out 3"].map(complete).to_vec();
        expected.push(("last".to_owned(), false));
        assert_eq!(of(Source::Stdout, &all), expected, "{way}");
        let expected = ["err 1", "err 2", "err 3"].map(complete);
        assert_eq!(of(Source::Stderr, &all), expected, "{way}");
        assert!(child.wait().await.unwrap().success());
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_line_comes_when_it_is_written() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "printf 'half '; echo line; read answer; echo got $answer";
        command.args(["-c", script]).stdin(Stdio::piped());
        let mut child = piped(&mut command).spawn().await.unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = child.lines().unwrap();
        // A future that is dropped loses nothing.
        for _ in 0..3 {
            let next = tokio::time::timeout(Duration::from_micros(1), lines.next());
            if let Ok(line) = next.await {
                assert_eq!(line.unwrap().unwrap().text(), "half line", "{way}");
                break;
            }
        }
        tokio::io::AsyncWriteExt::write_all(&mut stdin, b"it\n")
            .await
            .unwrap();
        loop {
            let line = lines.next().await.unwrap().unwrap();
            if line.text() != "half line" {
                assert_eq!(line.text(), "got it", "{way}");
                break;
            }
        }
        assert!(child.wait().await.unwrap().success());
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn output_without_a_newline_for_ever_comes_in_pieces() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "while :; do printf 0123456789; done";
        let mut child = piped(command.args(["-c", script])).spawn().await.unwrap();
        let mut lines = child.lines().unwrap().max_length(1000);
        for _ in 0..20 {
            let line = lines.next().await.unwrap().unwrap();
            assert_eq!(line.bytes.len(), 1000, "{way}");
            assert!(
                line.bytes.starts_with(b"0123456789") && !line.is_complete,
                "{way}"
            );
        }
        child.kill().await.unwrap();
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_passes_the_limit_keeps_its_beginning_and_its_end() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    // 8 bytes a line.
    let script = "i=1000000; while [ $i -lt 1030000 ]; do echo $i; i=$((i+1)); done; echo few >&2";
    for (way, mut command) in ways.commands("sh") {
        command.args(["-c", script]).output_limit(32);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{way}");
        let omission = output.stdout_omission.unwrap();
        assert_eq!((omission.at, omission.bytes), (16, 240_000 - 32), "{way}");
        let expected = "1000000\n1000001\n\n[239968 bytes left out]\n1029998\n1029999\n";
        assert_eq!(output.stdout_text(), expected, "{way}");
        assert_eq!(output.stderr_omission, None, "{way}");
        assert_eq!(output.stderr_text(), "few\n", "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_gibibyte_under_a_limit_takes_no_memory() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() / 1024
    };
    let before = peak();
    let (_, mut command) = ways.commands("dd").into_iter().next().unwrap();
    command
        .args(["if=/dev/zero", "bs=1M", "count=1024"])
        .output_limit(4096);
    let output = command.output().await.unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout.len(), 4096);
    assert_eq!(output.stdout_omission.unwrap().bytes, (1 << 30) - 4096);
    assert!(peak() - before < 16, "{} MiB", peak() - before);
    ways.finish(world).await;
}

#[tokio::test]
async fn lines_end_though_something_in_the_background_holds_the_output() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "echo one; sleep 1000 & exit 0";
        let mut child = piped(command.args(["-c", script])).spawn().await.unwrap();
        let mut lines = child.lines().unwrap();
        assert_eq!(lines.next().await.unwrap().unwrap().text(), "one", "{way}");
        assert!(lines.next().await.is_none(), "{way}");
        assert!(lines.is_cut(), "{way}");
        assert!(child.wait().await.unwrap().success());
    }
    ways.link.close().await.unwrap();
    ways.instance.stop().await.unwrap();
    world.finish();
}

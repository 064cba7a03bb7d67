//! Commands that do what they are told.

use std::fs;
use std::time::Duration;

use apptainer::sys::process::Signal;
use apptainer::{Contain, Stdio};
use fixtures::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn outputs_and_exit_code_come_back_each_by_itself() {
    let world = World::new().await;
    let container = world.container().await;
    let output = container
        .command("sh")
        .args(["-c", "echo out; echo err >&2; exit 7"])
        .output()
        .await
        .unwrap();
    assert_eq!(&output.stdout[..], b"out\n");
    assert_eq!(&output.stderr[..], b"err\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(!output.timed_out);
    world.finish();
}

#[tokio::test]
async fn a_signal_that_kills_the_command_is_told() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start().await.unwrap();
    for mut command in [container.command("sh"), instance.command("sh")] {
        let status = command
            .args(["-c", "kill -TERM $$"])
            .status()
            .await
            .unwrap();
        assert_eq!(status.signal(), Some(Signal::TERM));
        assert_eq!(status.code(), None);
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn behind_an_init_a_signal_is_128_and_more() {
    let world = World::new().await;
    let container = world.container().await.contain(Contain::All);
    let status = container
        .command("sh")
        .args(["-c", "kill -KILL $$"])
        .status()
        .await
        .unwrap();
    assert_eq!(status.code(), Some(137));
    world.finish();
}

#[tokio::test]
async fn standard_input_is_a_pipe_until_it_is_dropped() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let mut child = instance
        .command("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .await
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdin.write_all(b"first").await.unwrap();
    let mut echoed = [0; 5];
    stdout.read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"first");
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn waiting_closes_an_input_that_nobody_took() {
    let world = World::new().await;
    let container = world.container().await;
    let mut child = container
        .command("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .await
        .unwrap();
    assert!(child.wait().await.unwrap().success());
    assert!(
        child.wait().await.unwrap().success(),
        "the same answer again"
    );
    assert_eq!(child.try_wait().unwrap().unwrap().code(), Some(0));
    world.finish();
}

#[tokio::test]
async fn a_command_that_closed_its_input_breaks_the_pipe_and_nothing_else() {
    let world = World::new().await;
    let container = world.container().await;
    let mut child = container
        .command("sh")
        .args(["-c", "exec <&-; sleep 0.2; exit 3"])
        .stdin(Stdio::piped())
        .spawn()
        .await
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lots = vec![0; 1 << 20];
    let written = stdin.write_all(&lots).await;
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(child.wait().await.unwrap().code(), Some(3));
    world.finish();
}

#[tokio::test]
async fn arguments_arrive_as_they_are() {
    let world = World::new().await;
    let container = world.container().await;
    let odd = [
        "", "a b", "-x", "--", "$HOME", "`id`", "a\nb", "\"'\\", "ä", "*",
    ];
    let output = container
        .command("printf")
        .arg("%s|")
        .args(odd)
        .output()
        .await
        .unwrap();
    let expected: String = odd.map(|arg| format!("{arg}|")).concat();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    world.finish();
}

#[tokio::test]
async fn files_serve_as_streams() {
    let world = World::new().await;
    let container = world.container().await;
    let input = world.folder().join("in");
    let output = world.folder().join("out");
    fs::write(&input, "from a file").unwrap();
    let status = container
        .command("cat")
        .stdin(fs::File::open(&input).unwrap())
        .stdout(fs::File::create(&output).unwrap())
        .status()
        .await
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::read_to_string(output).unwrap(), "from a file");
    world.finish();
}

#[tokio::test]
async fn the_working_directory_is_the_commands_or_the_containers() {
    let world = World::new().await;
    let container = world.container().await.current_dir("/etc");
    let instance = container.start().await.unwrap();
    for (mut command, mut other) in [
        (container.command("pwd"), container.command("pwd")),
        (instance.command("pwd"), instance.command("pwd")),
    ] {
        assert_eq!(&command.output().await.unwrap().stdout[..], b"/etc\n");
        let output = other.current_dir("/var/tmp").output().await.unwrap();
        assert_eq!(&output.stdout[..], b"/var/tmp\n");
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_hold_the_caller() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start().await.unwrap();
    let started = std::time::Instant::now();
    let output = instance
        .command("sh")
        .args(["-c", "echo done; sleep 30 &"])
        .output()
        .await
        .unwrap();
    assert_eq!(&output.stdout[..], b"done\n");
    assert!(output.is_cut, "the sleep still holds the output");
    assert!(started.elapsed() < Duration::from_secs(10));
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_command_let_go_runs_on() {
    let world = World::new().await;
    let container = world.container().await.bind(world.folder(), "/work");
    let instance = container.start().await.unwrap();
    let child = instance
        .command("sh")
        .args(["-c", "sleep 0.5; echo there > /work/file"])
        .kill_on_drop(false)
        .spawn()
        .await
        .unwrap();
    drop(child);
    let file = world.folder().join("file");
    for _ in 0..100 {
        if fs::read_to_string(&file).is_ok_and(|text| text == "there\n") {
            instance.stop().await.unwrap();
            world.finish();
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not run on");
}

#[tokio::test]
async fn what_is_left_open_reaches_the_command_and_no_instance() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use std::os::fd::AsRawFd;

    let world = World::new().await;
    let path = world.folder().join("open");
    fs::write(&path, "handed on").unwrap();
    let open = fs::File::open(path).unwrap();
    fcntl(&open, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let script = format!("cat /proc/self/fd/{}", open.as_raw_fd());
    let container = world.container().await;
    let output = container.command("sh").args(["-c", &script]).output().await;
    assert_eq!(output.unwrap().stdout, "handed on");

    let instance = container.start().await.unwrap();
    let descriptors = fs::read_dir(format!("/proc/{}/fd", instance.pid())).unwrap();
    let has_it =
        |number: fs::DirEntry| fs::read_link(number.path()).is_ok_and(|to| to.ends_with("open"));
    assert!(!descriptors.map(Result::unwrap).any(has_it));
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn sixteen_commands_at_once_do_not_mix() {
    let world = World::new().await;
    let instance = std::sync::Arc::new(world.container().await.start().await.unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16 {
        let instance = std::sync::Arc::clone(&instance);
        tasks.spawn(async move {
            let text = format!("{number} ").repeat(1000);
            let output = instance.command("echo").arg(&text).output().await.unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{text}\n"));
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    std::sync::Arc::into_inner(instance)
        .unwrap()
        .stop()
        .await
        .unwrap();
    world.finish();
}

#[tokio::test]
async fn a_command_can_be_run_again() {
    let world = World::new().await;
    let container = world.container().await;
    let mut command = container.command("cat");
    let text = world.folder().join("text");
    std::fs::write(&text, "given").unwrap();
    command
        .stdin(std::fs::File::open(&text).unwrap())
        .stdout(Stdio::piped());
    // The second finds the file read to its end by the first.
    for expected in ["given", ""] {
        let child = command.spawn().await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert_eq!(output.stdout, expected);
    }
    let mut command = container.command("echo");
    command.arg("again");
    for _ in 0..2 {
        assert_eq!(command.output().await.unwrap().stdout, "again\n");
    }
    world.finish();
}

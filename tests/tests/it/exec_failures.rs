//! Commands that cannot be run, told from those that fail.

use apptainer::Stdio;
use apptainer::exec::ExecError;
use apptainer::sys::exit::FailureKind;
use fixtures::World;

fn kind<T: std::fmt::Debug>(result: Result<T, ExecError>) -> FailureKind {
    let error = result.unwrap_err();
    error.kind().unwrap_or_else(|| panic!("{error:?}"))
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start().await.unwrap();
    for program in ["nosuch", "/nosuch/program"] {
        for mut command in [container.command(program), instance.command(program)] {
            let error = command.output().await.unwrap_err();
            assert!(error.is_command_not_found(), "{error:?}");
        }
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_told() {
    let world = World::new().await;
    let container = world.container().await;
    for program in ["/etc/passwd", "/etc"] {
        let error = container.command(program).output().await.unwrap_err();
        // For root a file without an execute bit is not there for running either.
        let is_told = error.is_command_not_executable() || error.is_command_not_found();
        assert!(is_told, "{program}: {error:?}");
    }
    world.finish();
}

#[tokio::test]
async fn it_is_told_whoever_reads_standard_error() {
    let world = World::new().await;
    let container = world.container().await;
    let discarded = container
        .command("nosuch")
        .stderr(Stdio::null())
        .status()
        .await;
    assert_eq!(kind(discarded), FailureKind::CommandNotFound);
    let mut unread = container
        .command("nosuch")
        .stderr(Stdio::piped())
        .spawn()
        .await
        .unwrap();
    assert_eq!(kind(unread.wait().await), FailureKind::CommandNotFound);
    // What was looked at to learn that is still there to be read.
    let mut text = String::new();
    let mut stderr = unread.stderr.take().unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut stderr, &mut text)
        .await
        .unwrap();
    assert!(text.contains("nosuch"), "{text}");
    world.finish();
}

#[tokio::test]
async fn a_commands_own_255_is_no_failure_of_apptainer() {
    let world = World::new().await;
    let container = world.container().await;
    for script in [
        "exit 255",
        "echo 'something FATAL: went wrong' >&2; exit 255",
        "exit 1",
    ] {
        let output = container
            .command("sh")
            .args(["-c", script])
            .output()
            .await
            .unwrap();
        assert!(matches!(output.status.code(), Some(1 | 255)), "{script}");
    }
    world.finish();
}

#[tokio::test]
async fn a_working_directory_that_is_not_there_is_told() {
    let world = World::new().await;
    let container = world.container().await;
    let output = container
        .command("pwd")
        .current_dir("/nosuch")
        .output()
        .await;
    assert_eq!(kind(output), FailureKind::WorkingDirectory);
    world.finish();
}

#[tokio::test]
async fn a_bind_source_that_is_not_there_is_told_before_anything_starts() {
    let world = World::new().await;
    let container = world.container().await.bind("/nosuch/source", "/mnt");
    let error = container.command("true").output().await.unwrap_err();
    assert!(matches!(error, ExecError::Container(_)), "{error:?}");
    assert!(error.to_string().contains("/nosuch/source"), "{error}");
    world.finish();
}

#[tokio::test]
async fn an_error_says_what_was_run_and_what_came_of_it() {
    let world = World::new().await;
    let container = world.container().await;
    let ExecError::Apptainer(failure) = container.command("nosuch").output().await.unwrap_err()
    else {
        panic!("it is Apptainer that says so");
    };
    assert!(failure.argv.contains(&"nosuch".into()));
    assert_eq!(failure.exit.code(), Some(255));
    assert!(failure.stderr.contains("FATAL"));
    world.finish();
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_process() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, container) = runtime.block_on(async {
        let world = World::new().await;
        let container = world.container().await;
        (world, container)
    });
    let mut command = container.command("true");
    let mut spawning = std::pin::pin!(command.spawn());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = spawning.as_mut().poll(&mut context) else {
        panic!("it fails at once");
    };
    assert!(error.to_string().contains("runtime"), "{error}");
    world.finish();
}

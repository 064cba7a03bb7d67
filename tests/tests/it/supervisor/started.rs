//! Starting, and what a payload is given.

use std::time::Duration;

use apptainer::Command;
use apptainer::exec::Resource;
use apptainer::instance::{InstanceError, Limits, Payload, Port, Spec, State};
use apptainer::sys::process::{Exit, Signal};
use fixtures::{World, busybox_sandbox};

use super::{WAIT, end, stopped};

#[tokio::test]
async fn one_is_started_used_and_stopped() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let service = supervisor.start(&world.spec()).await.unwrap();
    service.ready().await.unwrap();
    let listed = world.client().instances().await.unwrap();
    assert_eq!(listed[0].name, service.name());
    assert_eq!(listed[0].pid, service.pid());
    let output = service.command("hostname").unwrap().output().await.unwrap();
    assert!(output.status.success());
    service.stop().await.unwrap();
    assert!(matches!(service.state(), State::Stopped(_)));
    assert!(matches!(
        service.command("true"),
        Err(InstanceError::Ended { .. })
    ));
    service.stop().await.unwrap();
    assert!(supervisor.services().is_empty());
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn how_a_payload_ended_is_known() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("kill -USR1 $$", Exit::Signal(Signal::USR1)),
    ] {
        let spec = world.spec().command(["sh", "-c", script]);
        let service = supervisor.start(&spec).await.unwrap();
        let stopped = stopped(&service).await;
        assert_eq!(stopped.exit, Some(expected));
        assert!(!stopped.was_asked);
    }
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_payload_that_obeys_ends_by_itself_and_one_that_does_not_is_killed() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let obeys = "trap 'exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let service = supervisor
        .start(&world.spec().command(["sh", "-c", obeys]))
        .await
        .unwrap();
    until_said(&service, "up").await;
    service.stop().await.unwrap();
    let obeyed = stopped(&service).await;
    assert_eq!(obeyed.exit, Some(Exit::Code(3)));
    assert!(obeyed.was_asked);

    let refuses = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let spec = world.spec().command(["sh", "-c", refuses]);
    let service = supervisor.start(&spec).await.unwrap();
    until_said(&service, "up").await;
    service
        .stop_within(Duration::from_millis(100))
        .await
        .unwrap();
    assert_eq!(
        stopped(&service).await.exit,
        Some(Exit::Signal(Signal::KILL))
    );
    drop(supervisor);
    world.finish();
}

async fn until_said(service: &apptainer::instance::Service, text: &str) {
    let mut lines = service.read_logs().follow(true).lines().await.unwrap();
    while let Some(line) = lines.next().await {
        if line.unwrap().text() == text {
            return;
        }
    }
    panic!("it has not said {text}");
}

#[tokio::test]
async fn scripts_of_the_image_are_run_as_apptainer_does() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let root = world.folder().join("root");
    busybox_sandbox(&root);
    let image = world.folder().join("image");
    let mut build = std::process::Command::new("apptainer");
    build
        .args(["--silent", "build", "--sandbox"])
        .args([&image, &root]);
    assert!(build.status().unwrap().success());
    for script in ["runscript", "startscript"] {
        let script = image.join(".singularity.d").join(script);
        std::fs::write(&script, "#!/bin/sh\necho \"ran $0 $*\"\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
    }
    let spec = || world.spec_of(&image);
    let service = supervisor.start(&spec().run(["a", "b c"])).await.unwrap();
    until_said(&service, "ran /.singularity.d/runscript a b c").await;
    assert_eq!(stopped(&service).await.exit, Some(Exit::Code(0)));

    let service = supervisor
        .start(&spec().payload(Payload::Start(vec!["x".into()])))
        .await
        .unwrap();
    until_said(&service, "ran /.singularity.d/startscript x").await;
    // The instance outlives it.
    assert_eq!(service.state(), State::Ready);
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_payload_has_what_the_spec_says() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world
        .spec()
        .env("GREETING", "a \"b\" $c `d` \\")
        .port(Port::named("http").env("PORT"))
        .current_dir("/etc")
        .umask(0o027)
        .temporary_overlay()
        .command([
            "sh",
            "-c",
            "echo \"$GREETING|$PORT|$1|$(pwd)|$(umask)\"; echo x > /new; cat /new",
            "sh",
            "{port:http}",
        ]);
    let service = supervisor.start(&spec).await.unwrap();
    let port = service.port("http").unwrap();
    let mut lines = service.read_logs().follow(true).lines().await.unwrap();
    let line = lines.next().await.unwrap().unwrap();
    assert_eq!(
        line.text(),
        format!("a \"b\" $c `d` \\|{port}|{port}|/etc|0027")
    );
    assert_eq!(lines.next().await.unwrap().unwrap().text(), "x");
    assert_eq!(stopped(&service).await.exit, Some(Exit::Code(0)));
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn commands_run_as_the_spec_says_unless_they_say_otherwise() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world.spec().current_dir("/etc").umask(0o027);
    let service = supervisor.start(&spec).await.unwrap();
    let said = async |set: fn(&mut Command)| {
        let mut command = service.command("sh").unwrap();
        set(command.args(["-c", "pwd; umask"]));
        let output = command.output().await.unwrap();
        String::from_utf8(output.stdout.to_vec()).unwrap()
    };
    assert_eq!(said(|_| {}).await, "/etc\n0027\n");
    let otherwise = said(|command| {
        command.current_dir("/bin").umask(0o077);
    });
    assert_eq!(otherwise.await, "/bin\n0077\n");
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_leaves_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let wrong = Spec::new("/not/there.sif")
        .bind("/nor/this", "relative")
        .command([""; 0]);
    let error = supervisor.start(&wrong).await.unwrap_err();
    let InstanceError::Spec(error) = error else {
        panic!("{error}");
    };
    assert!(error.findings.len() >= 3, "{error}");
    let missing = world.spec().command(["/not/there"]);
    let error = supervisor.start(&missing).await.unwrap_err();
    assert!(matches!(error, InstanceError::Payload(_)), "{error}");
    let late = world.spec().start_deadline(Duration::from_millis(1));
    let error = supervisor.start(&late).await.unwrap_err();
    assert!(matches!(error, InstanceError::TimedOut { .. }), "{error}");
    assert!(supervisor.services().is_empty());
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world.spec().name("web").command(WAIT);
    let starts: Vec<_> = (0..4)
        .map(|_| {
            let (supervisor, spec) = (supervisor.clone(), spec.clone());
            tokio::spawn(async move { supervisor.start(&spec).await })
        })
        .collect();
    let mut services = Vec::new();
    for start in starts {
        match start.await.unwrap() {
            Ok(service) => services.push(service),
            Err(error) => assert!(error.is_name_taken(), "{error}"),
        }
    }
    assert_eq!(services.len(), 1);
    services[0].stop().await.unwrap();
    assert!(!services[0].state().is_running());
    let again = supervisor.start(&spec).await.unwrap();
    again.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    for millis in [1, 20, 50, 80, 110, 140, 170] {
        let spec = world.spec().command(WAIT);
        let start = supervisor.start(&spec);
        let started = tokio::time::timeout(Duration::from_millis(millis), start).await;
        if let Ok(started) = started {
            started.unwrap().stop().await.unwrap();
        }
    }
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_supervisor_that_is_dropped_takes_its_instances_with_it() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let service = supervisor.start(&world.spec().command(WAIT)).await.unwrap();
    drop(supervisor);
    assert!(end(&service).await.is_final());
    world.finish();
}

#[tokio::test]
async fn limits_of_processes_hold_for_commands_too() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let limits = Limits::new()
        .resource(Resource::OpenFiles, 77)
        .resource(Resource::Core, 0);
    let service = supervisor
        .start(&world.spec().limits(limits))
        .await
        .unwrap();
    let mut command = service.command("sh").unwrap();
    let said = "ulimit -n; ulimit -Hn; ulimit -Hc";
    let output = command.args(["-c", said]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "77\n77\n0\n");
    let mut command = service.command("sh").unwrap();
    command.rlimit(Resource::OpenFiles, 66, 66);
    let output = command.args(["-c", said]).output().await.unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "66\n66\n0\n");
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

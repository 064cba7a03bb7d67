//! Instances that do what they are told.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use apptainer::Contain;
use apptainer::sys::exit::FailureKind;
use apptainer::sys::process::Process;
use apptainer::sys::state::ConfigDir;
use apptainer::sys::state::instance::Records;
use fixtures::World;

#[tokio::test]
async fn one_is_started_listed_used_and_stopped() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    assert!(instance.is_running().unwrap());
    let listed = world.client().instances().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, instance.name());
    assert_eq!(listed[0].pid, instance.pid());
    let output = instance.command("hostname").output().await.unwrap();
    assert!(output.status.success());
    instance.stop().await.unwrap();
    assert!(world.client().instances().await.unwrap().is_empty());
    world.finish();
}

#[tokio::test]
async fn stopping_leaves_no_process_record_or_log_of_a_generated_name() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let (pid, logs) = (instance.pid(), instance.logs());
    instance.stop().await.unwrap();
    let left = Process::read(pid).unwrap();
    assert!(left.is_none_or(|left| left.state == apptainer::sys::process::State::Zombie));
    assert!(logs.iter().all(|log| !log.exists()));
    world.finish();
}

#[tokio::test]
async fn a_given_name_is_kept_and_so_are_its_logs() {
    let world = World::new().await;
    let instance = world.container().await.start_as("web-1.2_3").await.unwrap();
    assert_eq!(instance.name(), "web-1.2_3");
    let logs = instance.logs();
    assert!(logs.iter().all(|log| log.exists()));
    instance.stop().await.unwrap();
    assert!(logs.iter().all(|log| log.exists()));
    world.finish();
}

#[tokio::test]
async fn a_name_can_be_used_again_once_it_is_free() {
    let world = World::new().await;
    let container = world.container().await;
    for _ in 0..3 {
        container
            .start_as("again")
            .await
            .unwrap()
            .stop()
            .await
            .unwrap();
    }
    world.finish();
}

#[tokio::test]
async fn what_ignores_term_is_stopped_all_the_same() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let mut command = instance.command("sh");
    command.args(["-c", "trap '' TERM; while :; do sleep 1; done"]);
    let child = command.spawn().await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    instance
        .stop_within(Duration::from_millis(200))
        .await
        .unwrap();
    drop(child);
    world.finish();
}

#[tokio::test]
async fn a_dropped_instance_goes_away_by_itself() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let logs = instance.logs();
    drop(instance);
    assert!(logs.iter().all(|log| !log.exists()));
    world.finish();
}

#[tokio::test]
async fn a_start_dropped_at_any_moment_leaves_nothing() {
    let world = World::new().await;
    let container = world.container().await;
    for moment in (0..420).step_by(14) {
        let limit = Duration::from_millis(moment);
        let started = tokio::time::timeout(limit, container.start_as("cut")).await;
        if let Ok(instance) = started {
            instance.unwrap().stop().await.unwrap();
        } else {
            wait_until_free(&world).await;
        }
    }
    world.finish();
}

#[tokio::test]
async fn a_record_that_was_left_half_written_is_no_obstacle() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start_as("cut").await.unwrap();
    let record = instance_record(&world, "cut");
    instance.stop().await.unwrap();
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    fs::write(&record, "{\"pid\": 1").unwrap();
    assert!(world.client().instances().await.unwrap().is_empty());
    let instance = container.start_as("cut").await.unwrap();
    assert_eq!(world.client().instances().await.unwrap().len(), 1);
    instance.stop().await.unwrap();
    world.finish();
}

/// Where Apptainer has put the record of an instance that runs.
fn instance_record(world: &World, name: &str) -> PathBuf {
    let config = ConfigDir::at(world.folder().join("config"));
    let records = Records::of(&config).unwrap();
    let record = records.folder(name).join(format!("{name}.json"));
    assert!(record.exists());
    record
}

/// What was cut off is killed at once and cleans up in the background.
async fn wait_until_free(world: &World) {
    for _ in 0..1000 {
        let starting = world.folder().join("config/apptainer-rs/starting");
        let is_starting = fs::read_dir(starting)
            .unwrap()
            .flatten()
            .any(|host| fs::read_dir(host.path()).unwrap().count() > 0);
        if !is_starting {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the name is never free again");
}

#[tokio::test]
async fn binds_carry_every_path_and_read_only_ones_stay_so() {
    let world = World::new().await;
    let odd = world.folder().join("a,b:c \"d\" \\e");
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("file"), "content").unwrap();
    let container = world
        .container()
        .await
        .bind(&odd, "/writable")
        .bind_read_only(&odd, "/readable");
    let instance = container.start().await.unwrap();
    for mut command in [instance.command("sh"), container.command("sh")] {
        let script =
            "cat /readable/file; echo more >> /writable/file && ! touch /readable/x 2>/dev/null";
        let output = command.args(["-c", script]).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.starts_with(b"content"));
    }
    assert_eq!(
        fs::read_to_string(odd.join("file")).unwrap(),
        "contentmore\nmore\n"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn an_overlay_keeps_what_is_written() {
    let world = World::new().await;
    let overlay = world.folder().join("overlay");
    fs::create_dir(&overlay).unwrap();
    let container = world.container().await.overlay(&overlay);
    let first = container.start().await.unwrap();
    let script = "echo kept > /kept";
    let status = first
        .command("sh")
        .args(["-c", script])
        .status()
        .await
        .unwrap();
    assert!(status.success());
    first.stop().await.unwrap();
    let second = container.start().await.unwrap();
    let output = second.command("cat").arg("/kept").output().await.unwrap();
    assert_eq!(&output.stdout[..], b"kept\n");
    second.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn contained_ones_do_not_see_the_hosts_files() {
    let world = World::new().await;
    let container = world.container().await;
    let seen = world.folder().join("seen");
    fs::write(&seen, "").unwrap();
    assert!(
        seen.starts_with("/tmp"),
        "the host's /tmp is shared by default"
    );
    for (level, expected) in [
        (Contain::Nothing, true),
        (Contain::Files, false),
        (Contain::All, false),
        (Contain::Docker, false),
    ] {
        let instance = container.clone().contain(level).start().await.unwrap();
        let mut command = instance.command("test");
        let status = command.arg("-e").arg(&seen).status().await.unwrap();
        assert_eq!(status.success(), expected, "{level:?}");
        instance.stop().await.unwrap();
    }
    world.finish();
}

#[tokio::test]
async fn with_fakeroot_the_user_is_root_inside() {
    let world = World::new().await;
    let started = world.container().await.fakeroot().start().await;
    if nix::unistd::geteuid().is_root() {
        // Root has a range of ids to map only where somebody gave it one.
        let error = started.unwrap_err();
        assert_eq!(error.kind(), Some(FailureKind::Subuid), "{error}");
        assert!(error.to_string().contains("/etc/subuid"), "{error}");
    } else {
        let instance = started.unwrap();
        let output = instance.command("id").arg("-u").output().await.unwrap();
        assert_eq!(&output.stdout[..], b"0\n");
        instance.stop().await.unwrap();
    }
    world.finish();
}

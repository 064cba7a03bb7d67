//! Files in a container that tell that it is well.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use apptainer::Contain;
use apptainer::instance::{Probe, ProbeFailure};
use fixtures::World;

use super::{failure, file};

#[tokio::test]
async fn paths_are_those_of_the_container_and_so_are_their_links() {
    let world = World::new().await;
    let folder = world.folder().join("bound");
    fs::create_dir(&folder).unwrap();
    let secret = world.folder().join("secret");
    fs::write(&secret, "").unwrap();
    let link = |name: &str, to: &Path| symlink(to, folder.join(name)).unwrap();
    let up = Path::new("../../../../../../../../..");
    link("out", &secret);
    link("up", &up.join(secret.strip_prefix("/").unwrap()));
    link("in", Path::new("/.singularity.d"));
    link("up-in", &up.join(".singularity.d/runscript"));
    link("circle", Path::new("circle"));
    link("proc", Path::new("/proc/self/root"));
    let container = world.container().await.contain(Contain::All);
    let instance = container.bind(&folder, "/mnt").start().await.unwrap();
    for there in ["/", "/mnt", "/bin/busybox", "/mnt/in", "/mnt/up-in"] {
        instance.probe(&file(there)).await.unwrap();
    }
    assert!(secret.exists() && folder.join("out").exists());
    for missing in [
        "/missing",
        "/mnt/out",
        "/mnt/up",
        "/mnt/circle",
        "/bin/busybox/x",
    ] {
        let failure = failure(&instance, &file(missing)).await;
        assert!(
            matches!(&failure, ProbeFailure::NotThere { path } if path == Path::new(missing)),
            "{missing}: {failure:?}"
        );
        assert!(failure.to_string().contains(missing));
    }
    // Not by way of a process's root either, be it which it may.
    let secret = Path::new("/mnt/proc").join(secret.strip_prefix("/").unwrap());
    failure(&instance, &file(&secret)).await;
    // What is made in the container is seen at once, whoever made it.
    let made = instance.command("touch").arg("/tmp/ready").status().await;
    assert!(made.unwrap().success());
    instance.probe(&file("/tmp/ready")).await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_heartbeat_is_to_be_recent() {
    let world = World::new().await;
    let beat = world.folder().join("beat");
    let instance = world.container().await.bind(world.folder(), "/mnt");
    let instance = instance.start().await.unwrap();
    let minute = Duration::from_secs(60);
    let newer = Probe::File {
        path: "/mnt/beat".into(),
        newer_than: Some(minute),
    };
    let missing = failure(&instance, &newer).await;
    assert!(
        matches!(missing, ProbeFailure::NotThere { .. }),
        "{missing:?}"
    );
    let written = File::create(&beat).unwrap();
    instance.probe(&newer).await.unwrap();
    written
        .set_modified(SystemTime::now() - 3 * minute)
        .unwrap();
    let old = failure(&instance, &newer).await;
    assert!(
        matches!(old, ProbeFailure::TooOld { age, .. } if age >= 3 * minute),
        "{old:?}"
    );
    written
        .set_modified(SystemTime::now() + 3 * minute)
        .unwrap();
    instance.probe(&newer).await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_may_not_be_seen_from_outside_is_looked_at_inside() {
    let world = World::new().await;
    let closed = world.folder().join("closed");
    fs::create_dir(&closed).unwrap();
    File::create(closed.join("beat")).unwrap();
    let container = world.container().await.bind(world.folder(), "/mnt");
    // Who is root inside may look where the user outside may not; root may here, too.
    let is_root = nix::unistd::geteuid().is_root();
    let container = if is_root {
        container
    } else {
        container.fakeroot()
    };
    let instance = container.start().await.unwrap();
    let mode = |mode| fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).unwrap();
    let minute = Duration::from_secs(60);
    let newer = |path: &str| Probe::File {
        path: path.into(),
        newer_than: Some(minute),
    };
    let written = File::options()
        .write(true)
        .open(closed.join("beat"))
        .unwrap();
    mode(0);
    if !is_root {
        assert!(fs::metadata(closed.join("beat")).is_err());
    }
    for probe in [file("/mnt/closed/beat"), newer("/mnt/closed/beat")] {
        instance.probe(&probe).await.unwrap();
    }
    for probe in [file("/mnt/closed/missing"), newer("/mnt/closed/missing")] {
        let missing = failure(&instance, &probe).await;
        assert!(
            matches!(missing, ProbeFailure::NotThere { .. }),
            "{missing:?}"
        );
    }
    written
        .set_modified(SystemTime::now() - 3 * minute)
        .unwrap();
    let old = failure(&instance, &newer("/mnt/closed/beat")).await;
    assert!(
        matches!(old, ProbeFailure::TooOld { age, .. } if age >= 3 * minute),
        "{old:?}"
    );
    mode(0o700);
    instance.stop().await.unwrap();
    world.finish();
}

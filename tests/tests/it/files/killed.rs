//! Programs that are killed while they write files: this one again.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use apptainer::{Apptainer, Instance, Link};
use fixtures::World;

use super::{Alone, local_names, make, names, noise};

const FOLDER: &str = "APPTAINER_TESTS_FOLDER";
const WAY: &str = "APPTAINER_TESTS_WAY";

/// So many take longer to be removed than an agent takes to kill.
const FILES: usize = 4000;

/// Starts one that writes to `/data` all the time.
fn start(world: &World, way: &str) -> Child {
    let mut process = Command::new(env::current_exe().unwrap())
        .args([
            "files::killed::write",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, world.folder())
        .env(WAY, way)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(process.stdout.take().unwrap());
    for line in stdout.lines() {
        if line.unwrap().ends_with("writing") {
            return process;
        }
    }
    process.wait().unwrap();
    panic!("it ended");
}

fn prepare(world: &World) -> PathBuf {
    for number in 0..FILES {
        let path = world
            .folder()
            .join(format!("source/{}/{number}", number % 7));
        make(&path, noise(100), 0o644, 0);
    }
    let data = world.folder().join("data");
    std::fs::create_dir(&data).unwrap();
    data
}

fn is_clean(names: &[String]) -> bool {
    !names.iter().any(|name| name.starts_with(".app"))
}

async fn settle(data: &Path) {
    for _ in 0..1000 {
        if is_clean(&local_names(data)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("left: {:?}", local_names(data));
}

async fn kill_some(world: &World, way: &str, data: &Path) {
    for round in 0..12_u64 {
        let mut process = start(world, way);
        tokio::time::sleep(Duration::from_millis(15 * round)).await;
        process.kill().unwrap();
        process.wait().unwrap();
        settle(data).await;
        for name in local_names(data) {
            let path = data.join(&name);
            if path.is_dir() {
                assert_eq!(super::tree(&path).len(), FILES + 7);
                std::fs::remove_dir_all(path).unwrap();
            } else {
                assert_eq!(std::fs::metadata(path).unwrap().len(), 4 << 20);
            }
        }
    }
}

#[tokio::test]
async fn one_that_has_a_link_leaves_nothing_partial() {
    let world = World::new().await;
    let data = prepare(&world);
    kill_some(&world, "link", &data).await;
    world.finish();
}

#[tokio::test]
async fn one_that_uses_an_instance_of_anothers_leaves_nothing_partial() {
    let world = World::new().await;
    let data = prepare(&world);
    let container = world.container().await.bind(&data, "/data");
    let instance = container.start_as("shared").await.unwrap();
    kill_some(&world, "instance", &data).await;
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_that_finds_a_link_again_leaves_nothing_partial() {
    let world = World::new().await;
    let data = prepare(&world);
    let socket = world.folder().join("links/one");
    let detached = apptainer::exec::OnDisconnect::Detach(socket);
    let container = world.container().await.bind(&data, "/data");
    let link = container.link().on_disconnect(detached).await.unwrap();
    kill_some(&world, "detached", &data).await;
    link.close().await.unwrap();
    world.finish();
}

/// Not a test: what is killed.
#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn write() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let builder = Apptainer::builder()
        .config_dir(folder.join("config"))
        .store_dir(folder.join("store"));
    let client = builder.build().await.unwrap();
    let (mut instance, mut link) = (None, None);
    let files = match &*env::var(WAY).unwrap() {
        "instance" => {
            let found = Instance::attach(&client, "shared").await.unwrap();
            instance.insert(found).files()
        }
        "detached" => {
            let found = Link::attach(folder.join("links/one")).await.unwrap();
            link.insert(found).files()
        }
        _ => {
            let image = client.image(fixtures::busybox_sif()).await.unwrap();
            let mut container = image.container().bind(folder.join("data"), "/data");
            if nix::unistd::geteuid().is_root() {
                container = container.no_privileges();
            } else if env::var_os("WITH_FAKEROOT").is_some() {
                container = container.fakeroot();
            }
            link.insert(container.link().await.unwrap()).files()
        }
    };
    let source = folder.join("source");
    files.exists("/data").await.unwrap();
    println!("writing");
    for round in 0.. {
        let content = noise(4 << 20);
        files.write("/data/file", content).await.unwrap();
        let target = format!("/data/tree{round}");
        files.upload(&source, &target).await.unwrap();
        files.remove_all(&target).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_called_off_as_its_link_is_closed_leaves_nothing_partial() {
    let world = World::new().await;
    let data = prepare(&world);
    for round in 0..6 {
        let container = world.container().await.bind(&data, "/data");
        let link = container.link().await.unwrap();
        let files = link.files();
        let upload = files.upload(world.folder().join("source"), "/data/tree");
        let upload = std::future::IntoFuture::into_future(upload);
        let limit = Duration::from_millis(20 + 20 * round);
        let _ = tokio::time::timeout(limit, upload).await;
        link.close().await.unwrap();
        assert!(is_clean(&local_names(&data)), "{:?}", local_names(&data));
        let _ = std::fs::remove_dir_all(data.join("tree"));
    }
    world.finish();
}

#[tokio::test]
async fn what_is_called_off_is_gone_before_the_next_is_done() {
    let alone = Alone::new().await;
    let files = alone.files();
    let source = alone.path("source");
    make(&source, noise(8 << 20), 0o644, 0);
    for step in 0..10 {
        let upload = std::future::IntoFuture::into_future(files.upload(&source, "/file"));
        let _ = tokio::time::timeout(Duration::from_millis(step), upload).await;
        assert!(is_clean(&names(&files, "/").await));
    }
    alone.finish().await;
}

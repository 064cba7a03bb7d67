//! What serves files: when it is there, and where it cannot be.

use std::fs;

use apptainer::Link;
use apptainer::exec::OnDisconnect;
use apptainer::files::FilesError;
use apptainer::sys::process::{PidFd, Process, Signal};
use fixtures::World;

use super::Alone;
use crate::stream_link::Far;

fn servers() -> Vec<Process> {
    let all = Process::all().unwrap().into_iter();
    all.filter(|process| process.name == "apptainer-files")
        .collect()
}

fn descends(process: &Process) -> bool {
    let all = Process::all().unwrap();
    let me = i32::try_from(std::process::id()).unwrap();
    let mut at = process.parent;
    while at > 1 {
        if at == me {
            return true;
        }
        at = all
            .iter()
            .find(|other| other.pid == at)
            .map_or(0, |other| other.parent);
    }
    false
}

#[tokio::test]
async fn one_is_started_once_and_again_where_it_was_killed() {
    let alone = Alone::new().await;
    for _ in 0..20 {
        alone.files().write("/file", "1").await.unwrap();
    }
    let ours = || servers().into_iter().filter(descends).collect::<Vec<_>>();
    let [server] = <[Process; 1]>::try_from(ours()).unwrap();
    PidFd::open(server.pid)
        .unwrap()
        .signal(Signal::KILL)
        .unwrap();
    // It may just be ending: what is asked then is told that it has.
    while ours().iter().any(|other| other.pid == server.pid) {
        tokio::task::yield_now().await;
    }
    alone.files().write("/file", "2").await.unwrap();
    assert_eq!(alone.files().read("/file").await.unwrap(), &b"2"[..]);
    // It is no command that a stopped instance would wait for.
    alone.finish().await;
}

#[tokio::test]
async fn a_container_that_is_gone_is_told() {
    let alone = Alone::new().await;
    let files = alone.files();
    files.write("/file", "1").await.unwrap();
    alone.service.stop().await.unwrap();
    for _ in 0..2 {
        let error = files.read("/file").await.unwrap_err();
        assert!(matches!(error, FilesError::NotThere { .. }), "{error:?}");
    }
    let error = alone.files().read("/file").await.unwrap_err();
    assert!(matches!(error, FilesError::NotThere { .. }), "{error:?}");
    alone.finish().await;
}

#[tokio::test]
async fn an_image_needs_nothing_in_it() {
    let world = World::new().await;
    let root = world.folder().join("root");
    for folder in [
        "dev", "etc", "home", "proc", "root", "sys", "tmp", "var/tmp", "data",
    ] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let data = world.folder().join("data");
    fs::create_dir(&data).unwrap();
    let image = world.client().image(root.to_str().unwrap()).await.unwrap();
    let mut container = image.container().bind(&data, "/data");
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let link = container.link().await.unwrap();
    let files = link.files();
    files.upload_bytes("hello", "/data/a/b").await.unwrap();
    assert_eq!(fs::read(data.join("a/b")).unwrap(), b"hello");
    files
        .download("/data", world.folder().join("back"))
        .await
        .unwrap();
    assert_eq!(fs::read(world.folder().join("back/a/b")).unwrap(), b"hello");
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_link_that_outlives_its_program_has_files() {
    let world = World::new().await;
    let socket = world.folder().join("links/one");
    let detached = OnDisconnect::Detach(socket.clone());
    let link = world
        .container()
        .await
        .link()
        .on_disconnect(detached)
        .await
        .unwrap();
    assert!(link.files().exists("/bin").await.unwrap());
    let found = Link::attach(socket).await.unwrap();
    let files = found.files();
    assert!(files.exists("/bin").await.unwrap());
    found.close().await.unwrap();
    let error = files.exists("/bin").await.unwrap_err();
    assert!(matches!(error, FilesError::NotThere { .. }), "{error:?}");
    drop(link);
    world.finish();
}

#[tokio::test]
async fn over_a_stream_there_are_none() {
    let world = World::new().await;
    let far = Far::of(&world).await;
    let error = far.link().files().read("/etc/passwd").await.unwrap_err();
    assert!(matches!(error, FilesError::Unsupported { .. }), "{error:?}");
    far.close().await;
    world.finish();
}

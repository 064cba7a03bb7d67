//! What a reference leads to, when a registry is asked for that, and how.

mod credentials;
mod download;
mod index;
mod mirrors;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use apptainer::image::{Form, ImageError, PullPolicy, StoredImage};
use apptainer::{Apptainer, Image};
use fixtures::{Login, Registry, Server, World, respond};
use fixtures::{busybox_archive, busybox_sandbox, busybox_sif};

const POLICIES: [PullPolicy; 4] = [
    PullPolicy::Always,
    PullPolicy::IfOlderThan(Duration::ZERO),
    PullPolicy::IfMissing,
    PullPolicy::Never,
];

const HOUR: Duration = Duration::from_secs(3600);

/// Stands before a registry, and counts what that is asked for.
fn before(registry: &Registry) -> Server {
    let registry = registry.host().to_owned();
    Server::start(move |request, stream| {
        io::copy(&mut request.pass_on(&registry)?, stream).map(drop)
    })
}

/// What it has been asked for since it had been so often.
fn asked(server: &Server, since: usize) -> Vec<String> {
    let requests = server.requests();
    let requests = requests[since..].iter();
    let texts = requests.map(|request| format!("{} {}", request.method, request.path));
    texts.collect()
}

/// A root file system that is unlike any other's.
fn archive(world: &World, name: &str) -> PathBuf {
    let root = world.folder().join(format!("{name}-root"));
    let archive = world.folder().join(format!("{name}.tar"));
    busybox_sandbox(&root);
    fs::write(root.join("etc/name"), name).unwrap();
    let mut tar = Command::new("tar");
    let tar = tar.args(["--owner=0", "--group=0", "--sort=name", "-C"]);
    let status = tar.arg(&root).arg("-cf").arg(&archive).arg(".").status();
    assert!(status.unwrap().success());
    archive
}

async fn get(client: &Apptainer, reference: &str, policy: PullPolicy) -> Result<Image, ImageError> {
    let image = client.image(reference).no_https().policy(policy);
    image.retries(0).await
}

fn is_stale(image: &Image) -> bool {
    image.resolution().unwrap().is_stale
}

#[tokio::test]
async fn a_tag_that_moves_is_followed_when_the_policy_says_so() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    let reference = server.reference("busybox:1");
    let get = async |policy| get(world.client(), &reference, policy).await.unwrap();
    let digest = |image: &Image| image.resolution().unwrap().digest.clone();
    registry.push(&busybox_archive(), "busybox:1");
    let first = get(PullPolicy::IfMissing).await;
    assert_eq!(digest(&first), Some(registry.digest("busybox:1")));
    registry.push(&archive(&world, "second"), "busybox:1");
    let since = server.requests().len();
    for policy in [
        PullPolicy::Never,
        PullPolicy::IfMissing,
        PullPolicy::IfOlderThan(HOUR),
        PullPolicy::default(),
    ] {
        let image = get(policy).await;
        assert_eq!(image.path(), first.path(), "{policy:?}");
        assert!(!is_stale(&image));
    }
    assert_eq!(asked(&server, since), [""; 0]);
    let second = get(PullPolicy::IfOlderThan(Duration::ZERO)).await;
    assert_ne!(second.path(), first.path());
    assert_eq!(digest(&second), Some(registry.digest("busybox:1")));
    // Back again: what is in the store is not fetched again.
    registry.push(&busybox_archive(), "busybox:1");
    let since = server.requests().len();
    assert_eq!(get(PullPolicy::Always).await.path(), first.path());
    let requests = asked(&server, since);
    let manifest = "/v2/busybox/manifests/1";
    assert_eq!(
        requests,
        ["HEAD", "GET"].map(|method| format!("{method} {manifest}"))
    );
    world.finish();
}

#[tokio::test]
async fn a_tag_that_has_not_moved_takes_one_question_without_an_answer_to_read() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = server.reference("busybox:1");
    let before = get(world.client(), &reference, PullPolicy::Always)
        .await
        .unwrap();
    let since = server.requests().len();
    let after = get(world.client(), &reference, PullPolicy::Always)
        .await
        .unwrap();
    assert_eq!(asked(&server, since), ["HEAD /v2/busybox/manifests/1"]);
    assert_eq!(after.path(), before.path());
    let time = |image: &Image| image.resolution().unwrap().asked;
    assert!(time(&after) > time(&before));
    world.finish();
}

#[tokio::test]
async fn what_is_named_by_its_digest_is_never_asked_for_again() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    registry.push(&busybox_archive(), "busybox:1");
    let digest = registry.digest("busybox:1");
    let reference = server.reference(&format!("busybox@{digest}"));
    let first = get(world.client(), &reference, PullPolicy::IfMissing).await;
    let first = first.unwrap();
    let since = server.requests().len();
    for policy in POLICIES {
        let image = get(world.client(), &reference, policy).await.unwrap();
        assert_eq!(image.path(), first.path());
    }
    // By a tag it came, and is known by its digest.
    let tagged = server.reference(&format!("busybox:1@{digest}"));
    get(world.client(), &tagged, PullPolicy::Never)
        .await
        .unwrap();
    assert_eq!(asked(&server, since), [""; 0]);
    world.finish();
}

#[tokio::test]
async fn nobody_is_asked_where_the_policy_is_never() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    registry.push(&busybox_archive(), "busybox:1");
    let digest = registry.digest("busybox:1");
    for name in ["busybox:1".to_owned(), format!("busybox@{digest}")] {
        let reference = server.reference(&name);
        let error = get(world.client(), &reference, PullPolicy::Never).await;
        let error = error.unwrap_err();
        assert!(matches!(error, ImageError::Offline { .. }), "{error:?}");
        assert!(error.is_not_found());
    }
    assert_eq!(asked(&server, 0), [""; 0]);
    world.finish();
}

#[tokio::test]
async fn the_old_answer_counts_where_the_registry_is_gone() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let policy = PullPolicy::IfOlderThan(Duration::ZERO);
    let first = get(world.client(), &reference, policy).await.unwrap();
    assert!(!is_stale(&first));
    drop(registry);
    let again = get(world.client(), &reference, policy).await.unwrap();
    assert!(is_stale(&again));
    assert_eq!(again.path(), first.path());
    let error = get(world.client(), &reference, PullPolicy::Always).await;
    let error = error.unwrap_err();
    let ImageError::Registry { source, .. } = &error else {
        panic!("{error:?}");
    };
    assert!(source.is_unreachable(), "{error}");
    // Nothing else is taken for it that was never asked for.
    let other = reference.replace("busybox:1", "busybox:2");
    get(world.client(), &other, policy).await.unwrap_err();
    world.finish();
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_it_ask_again() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = server.reference("busybox:1");
    let policy = PullPolicy::IfOlderThan(HOUR);
    get(world.client(), &reference, policy).await.unwrap();
    let names = world.client().store_dir().join("v1/names");
    let [record] = fs::read_dir(names)
        .unwrap()
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let record = record.unwrap().path();
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["asked"] = (json["asked"].as_u64().unwrap() + 1_000_000_000).into();
    fs::write(&record, json.to_string()).unwrap();
    let since = server.requests().len();
    let image = get(world.client(), &reference, policy).await.unwrap();
    assert!(image.resolution().unwrap().asked <= SystemTime::now());
    assert_eq!(asked(&server, since), ["HEAD /v2/busybox/manifests/1"]);
    get(world.client(), &reference, policy).await.unwrap();
    assert_eq!(asked(&server, since).len(), 1);
    world.finish();
}

#[tokio::test]
async fn an_answer_counts_once_its_image_is_there() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let is_lame = Arc::new(AtomicBool::new(false));
    let (host, lame) = (registry.host().to_owned(), Arc::clone(&is_lame));
    let server = Server::start(move |request, stream| {
        if lame.load(Ordering::SeqCst) && request.path.contains("/blobs/") {
            return respond(stream, "503 Service Unavailable", "", "");
        }
        io::copy(&mut request.pass_on(&host)?, stream).map(drop)
    });
    registry.push(&busybox_archive(), "busybox:1");
    let reference = server.reference("busybox:1");
    let get = async |policy| get(world.client(), &reference, policy).await;
    let first = get(PullPolicy::Always).await.unwrap();
    registry.push(&archive(&world, "second"), "busybox:1");
    is_lame.store(true, Ordering::SeqCst);
    let error = get(PullPolicy::Always).await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    let image = get(PullPolicy::Never).await.unwrap();
    assert_eq!(image.path(), first.path());
    let image = get(PullPolicy::IfOlderThan(Duration::ZERO)).await.unwrap();
    assert_eq!(image.path(), first.path());
    assert!(is_stale(&image));
    is_lame.store(false, Ordering::SeqCst);
    let second = get(PullPolicy::IfOlderThan(Duration::ZERO)).await.unwrap();
    assert_eq!(second.digest(), Some(registry.digest("busybox:1").as_str()));
    world.finish();
}

#[tokio::test]
async fn what_nobody_can_tell_the_change_of_is_there_once_where_it_has_not_changed() {
    let world = World::new().await;
    let sif = fs::read(busybox_sif()).unwrap();
    let server = Server::start(move |request, stream| {
        let body: &[u8] = if request.method == "HEAD" { b"" } else { &sif };
        respond(stream, "200 OK", "", body)
    });
    let reference = format!("http://{}/busybox.sif", server.host());
    let get = async || get(world.client(), &reference, PullPolicy::Always).await;
    let first = get().await.unwrap();
    let second = get().await.unwrap();
    assert_eq!(first.sif(), second.sif());
    let list = world.client().store().list().await.unwrap();
    let is_sif = |image: &&StoredImage| image.form == Form::Sif;
    assert_eq!(list.iter().filter(is_sif).count(), 1, "{list:#?}");
    world.finish();
}

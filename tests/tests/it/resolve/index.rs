//! Images for several kinds of machines under one name.

use apptainer::image::{ImageError, Platform, PullPolicy, RegistryError};
use fixtures::{Login, Registry, World, busybox_archive};

use super::{archive, asked, before};

/// A kind of machine that this is not.
fn other() -> Platform {
    let other = match Platform::host().architecture() {
        "arm64" => "amd64",
        _ => "arm64",
    };
    other.parse().unwrap()
}

#[tokio::test]
async fn each_platform_has_its_own_image() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    let server = before(&registry);
    registry.push(&busybox_archive(), "busybox:mine");
    registry.push(&archive(&world, "other"), "busybox:other");
    let (mine, other) = (Platform::host(), other());
    let images = [
        (other.architecture(), "other"),
        (mine.architecture(), "mine"),
    ];
    registry.push_index("busybox", "1", &images);
    let reference = server.reference("busybox:1");
    for (platform, tag) in [(&mine, "mine"), (&other, "other")] {
        let image = || {
            world
                .client()
                .image(&reference)
                .no_https()
                .platform(platform.clone())
        };
        let first = image().await.unwrap();
        let digest = registry.digest(&format!("busybox:{tag}"));
        assert_eq!(first.resolution().unwrap().digest, Some(digest));
        // What the tag leads to is the index, and that is what is asked for.
        let since = server.requests().len();
        let again = image().policy(PullPolicy::Always).await.unwrap();
        assert_eq!(asked(&server, since), ["HEAD /v2/busybox/manifests/1"]);
        assert_eq!(again.path(), first.path());
    }
    world.finish();
}

#[tokio::test]
async fn one_that_is_not_for_this_machine_is_refused_with_what_there_is() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:other");
    let other = other();
    registry.push_index("busybox", "1", &[(other.architecture(), "other")]);
    let image = world.client().image(registry.reference("busybox:1"));
    let error = image.no_https().await.unwrap_err();
    let ImageError::Registry { source, .. } = &error else {
        panic!("{error:?}");
    };
    let RegistryError::NoPlatform { wanted, offered } = &**source else {
        panic!("{error:?}");
    };
    assert_eq!(*wanted, Platform::host());
    assert_eq!(offered.as_slice(), std::slice::from_ref(&other));
    let text = error.to_string();
    assert!(text.contains(&format!("only for {other}")), "{text}");
    crate::registry_trouble::assert_empty(&world);
    world.finish();
}

#[tokio::test]
async fn one_without_an_index_that_is_for_other_machines_is_refused() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let image = world.client().image(registry.reference("busybox:1"));
    let error = image.no_https().platform(other()).await.unwrap_err();
    let ImageError::Registry { source, .. } = &error else {
        panic!("{error:?}");
    };
    let mine = Platform::host();
    assert!(
        matches!(&**source, RegistryError::NoPlatform { offered, .. } if *offered == [mine]),
        "{error:?}"
    );
    world.finish();
}

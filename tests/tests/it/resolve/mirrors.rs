//! What is asked in a registry's place, and whom one trusts to be it.

use apptainer::Builder;
use apptainer::image::{ImageError, RegistryError};
use fixtures::{Authority, Login, Registry, World, busybox_archive};

use super::{asked, before};

#[tokio::test]
async fn a_mirror_of_docker_hub_is_asked_first() {
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "library/busybox:1");
    let mirror = before(&registry);
    let world = World::with(|builder| {
        let builder = builder.http_registry(mirror.host());
        builder.mirror("docker.io", mirror.host())
    });
    let world = world.await;
    let image = world.client().image("docker://busybox:1").await.unwrap();
    assert_eq!(
        image.reference().to_string(),
        "docker://docker.io/library/busybox:1"
    );
    let digest = registry.digest("library/busybox:1");
    assert_eq!(image.resolution().unwrap().digest, Some(digest));
    assert_eq!(asked(&mirror, 0)[0], "GET /v2/library/busybox/manifests/1");
    world.finish();
}

#[tokio::test]
async fn a_mirror_that_is_down_or_lacks_the_image_is_passed_over() {
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let empty = Registry::start(Login::None);
    let lacking = before(&empty);
    let gone = before(&empty);
    let down = gone.host();
    drop(gone);
    let world = World::with(|builder| {
        let hosts = [registry.host(), &down, &lacking.host()];
        let builder = hosts.into_iter().fold(builder, Builder::http_registry);
        builder
            .mirror(registry.host(), down)
            .mirror(registry.host(), lacking.host())
    });
    let world = world.await;
    let image = world.client().image(registry.reference("busybox:1"));
    image.await.unwrap();
    assert_eq!(asked(&lacking, 0)[0], "GET /v2/busybox/manifests/1");
    world.finish();
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let authority = Authority::new();
    let registry = Registry::start_encrypted(&authority);
    registry.push(&busybox_archive(), "busybox:1");
    let reference = registry.reference("busybox:1");
    let certificate = authority.certificate();
    let world = World::with(|builder| builder.certificate_authority(certificate)).await;
    world.client().image(&reference).await.unwrap();
    world.finish();

    let world = World::new().await;
    let error = world.client().image(&reference).await.unwrap_err();
    let ImageError::Registry { source, .. } = &error else {
        panic!("{error:?}");
    };
    let RegistryError::Transport {
        advice, may_pass, ..
    } = &**source
    else {
        panic!("{error:?}");
    };
    assert!(
        advice.is_some_and(|advice| advice.contains("certificate_authority")),
        "{error}"
    );
    assert!(!may_pass);
    world.finish();
}

#[tokio::test]
async fn a_file_that_names_no_authority_is_told_of() {
    let authority = Authority::new();
    let key = authority.server_key();
    let missing = authority.folder().join("nosuch.crt");
    for path in [key, missing] {
        let world = World::with(|builder| builder.certificate_authority(&path)).await;
        let error = world.client().image("docker://127.0.0.1:1/a:1").await;
        let error = error.unwrap_err();
        assert!(
            matches!(&error, ImageError::Registry { source, .. }
                if matches!(**source, RegistryError::Certificate(_))),
            "{error:?}"
        );
        assert!(
            error.to_string().contains(path.to_str().unwrap()),
            "{error}"
        );
        world.finish();
    }
}

//! Instances that cannot be started.

use std::fs;

use apptainer::instance::InstanceError;
use fixtures::World;

#[tokio::test]
async fn names_that_instances_cannot_have_are_refused() {
    let world = World::new().await;
    let container = world.container().await;
    for name in ["", "a/b", "../a", "a b", "-a", "ä", "a\n"] {
        let error = container.start_as(name).await.unwrap_err();
        assert!(
            matches!(error, InstanceError::InvalidName { .. }),
            "{name:?}: {error:?}"
        );
    }
    world.finish();
}

#[tokio::test]
async fn a_name_that_is_taken_is_told_and_its_owner_left_alone() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start_as("web").await.unwrap();
    let error = container.start_as("web").await.unwrap_err();
    assert!(error.is_name_taken(), "{error:?}");
    assert!(instance.command("true").status().await.unwrap().success());
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn of_many_who_start_one_name_at_once_one_wins_and_none_is_lost() {
    let world = World::new().await;
    let container = world.container().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let container = container.clone();
        tasks.spawn(async move { container.start_as("web").await });
    }
    let (won, lost): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 5));
    assert!(
        lost.iter()
            .all(|lost| lost.as_ref().unwrap_err().is_name_taken())
    );
    assert_eq!(world.client().instances().await.unwrap().len(), 1);
    for instance in won {
        instance.unwrap().stop().await.unwrap();
    }
    world.finish();
}

#[tokio::test]
async fn a_bind_source_or_overlay_that_is_not_there_is_told() {
    let world = World::new().await;
    let container = world.container().await;
    for container in [
        container.clone().bind("/nosuch/source", "/mnt"),
        container.clone().overlay("/nosuch/overlay"),
    ] {
        let error = container.start().await.unwrap_err();
        assert!(matches!(error, InstanceError::Container(_)), "{error:?}");
    }
    let error = container.bind(world.folder(), "relative").start().await;
    let text = error.unwrap_err().to_string();
    assert!(
        text.ends_with("the destination must be an absolute path"),
        "{text}"
    );
    world.finish();
}

#[tokio::test]
async fn a_failure_of_apptainer_carries_what_it_said_and_leaves_nothing() {
    let world = World::new().await;
    // A sandbox that Apptainer did not make runs commands, but no instances.
    let sandbox = world.folder().join("bare");
    fs::create_dir_all(sandbox.join("bin")).unwrap();
    let image = world.client().image(&sandbox).await.unwrap();
    let mut container = image.container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let error = container.start().await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(
            error,
            InstanceError::Apptainer { .. } | InstanceError::EndedAtOnce { .. }
        ),
        "{error:?}"
    );
    assert!(text.contains("start"), "{text}");
    world.finish();
}

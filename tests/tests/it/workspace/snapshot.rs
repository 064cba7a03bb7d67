//! Images that are made of workspaces.

use std::future::IntoFuture;
use std::time::Duration;

use apptainer::image::Compression;
use apptainer::instance::State;
use apptainer::workspace::WorkspaceError;
use fixtures::World;

use super::said;

const CHANGE: &str = "umask 022 && mkdir -p deep/er closed && echo text >deep/er/file && ln -s deep/er/file link && \
    ln deep/er/file other && chmod 751 deep && touch -d @1000000000 deep/er/file && \
    echo secret >closed/file && chmod 700 closed";

/// What only root may do, also inside.
const ROOTS: &str = "test $(id -u) != 0 || { rm /environment && rm -r /.singularity.d/actions && \
    mkdir /.singularity.d/actions && echo mine >/.singularity.d/actions/new && \
    { chown 33:33 closed closed/file 2>/dev/null || true; }; }";

const LOOK: &str = "cat link; ls -di deep/er/file other | sed 's/ .*//' | sort -u | wc -l; \
    stat -c '%a %F' deep closed; stat -c %Y other; cat closed/file; ls -A /bin | wc -l";

const LOOK_AS_ROOT: &str =
    "test $(id -u) != 0 || { test ! -L /environment && ls /.singularity.d/actions; }";

#[tokio::test]
async fn a_snapshot_is_an_image_of_all_that_was_written() {
    let world = World::new().await;
    let one = world.workspace().start().await.unwrap();
    assert_eq!(said(&one.execute(CHANGE).await.unwrap()), "");
    assert_eq!(said(&one.execute(ROOTS).await.unwrap()), "");
    let looked = said(&one.execute(LOOK).await.unwrap());
    assert!(looked.contains("\nsecret\n"), "{looked}");
    let as_root = said(&one.execute(LOOK_AS_ROOT).await.unwrap());
    let image = one.snapshot().compression(Compression::Zstd { level: 1 });
    let image = image.await.unwrap();
    assert_eq!(one.state(), State::Ready);
    let changed = one.execute("echo changed >link; echo mine >after");
    said(&changed.await.unwrap());

    let other = world.workspace_of(&image).start().await.unwrap();
    let again = said(&other.execute(LOOK).await.unwrap());
    assert_eq!(again, looked);
    assert_eq!(said(&other.execute(LOOK_AS_ROOT).await.unwrap()), as_root);
    assert_eq!(said(&other.execute("test ! -e after").await.unwrap()), "");
    // What is made of that has both, from one that stands still.
    said(&other.execute("echo more >more").await.unwrap());
    other.pause().await.unwrap();
    let second = other.snapshot().await.unwrap();
    assert_eq!(other.state(), State::Paused);
    assert_ne!(second.sif(), image.sif());
    let third = world.workspace_of(&second).start().await.unwrap();
    let result = third.execute("cat link more").await.unwrap();
    assert_eq!(said(&result), "text\nmore\n");
    for workspace in [one, other, third] {
        workspace.stop().await.unwrap();
    }
    world.finish();
}

#[tokio::test]
async fn a_snapshot_is_in_the_store_until_that_is_pruned() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    said(&workspace.execute("echo kept >file").await.unwrap());
    let image = workspace.snapshot().await.unwrap();
    workspace.stop().await.unwrap();
    drop(workspace);
    let sif = image.sif().unwrap().to_owned();
    drop(image);
    let store = world.client().store();
    let verified = store.verify().await.unwrap();
    assert!(verified.is_empty(), "{verified:?}");
    let again = world.workspace_of(sif.as_path()).start().await.unwrap();
    assert_eq!(said(&again.execute("cat file").await.unwrap()), "kept\n");
    again.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_snapshot_that_is_called_off_leaves_nothing_but_what_was_there() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = "for i in 1 2 3 4 5 6 7 8; do mkdir $i; for j in 1 2 3 4 5 6 7 8; do echo $j >$i/$j; done; done";
    assert!(workspace.execute(line).await.unwrap().success());
    for millis in [0, 1, 10, 50, 100, 200, 300] {
        let late = Duration::from_millis(millis);
        if let Ok(image) = tokio::time::timeout(late, workspace.snapshot().into_future()).await {
            image.unwrap();
        }
        let result = workspace.execute("ls | wc -l");
        assert_eq!(said(&result.await.unwrap()).trim(), "8");
    }
    workspace.stop().await.unwrap();
    drop(workspace);
    world.finish();
}

#[tokio::test]
async fn what_has_other_layers_is_no_image() {
    let world = World::new().await;
    let upper = world.folder().join("upper");
    std::fs::create_dir(&upper).unwrap();
    let builder = world.workspace().working_dir("/tmp");
    let builder = builder.with_spec(|_| world.spec().overlay(&upper));
    let workspace = builder.start().await.unwrap();
    let error = workspace.snapshot().await.unwrap_err();
    assert!(matches!(error, WorkspaceError::NoLayer), "{error}");
    workspace.stop().await.unwrap();
    world.finish();
}

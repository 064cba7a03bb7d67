//! Workspaces that begin with what is in others.

use apptainer::instance::State;
use apptainer::workspace::WorkspaceError;
use fixtures::World;

use super::said;

const CHANGE: &str = "mkdir -p deep/er && echo text >deep/er/file && ln -s deep/er/file link && \
    ln deep/er/file other && chmod 751 deep && mkfifo -m 640 pipe && touch -d @1000000000 deep/er/file";

/// What only root may do, also inside.
const ROOTS: &str = "test $(id -u) != 0 || { rm -r /environment /.singularity.d/actions && mkdir /.singularity.d/actions; }";

const LOOK: &str = "cat link; ls -di deep/er/file other | sed 's/ .*//' | sort -u | wc -l; \
    stat -c '%a %F' deep pipe; stat -c %Y other; \
    test $(id -u) != 0 || ! test -L /environment || echo there; test $(id -u) != 0 || ls /.singularity.d/actions";

#[tokio::test]
async fn a_fork_has_all_that_was_written_and_goes_its_own_way() {
    let world = World::new().await;
    let one = world.workspace().start().await.unwrap();
    let result = one.execute(CHANGE).await.unwrap();
    assert_eq!(said(&result), "");
    assert_eq!(said(&one.execute(ROOTS).await.unwrap()), "");
    let looked = said(&one.execute(LOOK).await.unwrap());
    let expected = "text\n1\n751 directory\n640 fifo\n1000000000\n";
    assert_eq!(looked, expected);
    let other = one.fork().await.unwrap();
    assert_eq!(one.state(), State::Ready);
    let looked = said(&other.execute(LOOK).await.unwrap());
    assert_eq!(looked, expected);
    let line = "echo changed >other; echo new >new; cat link";
    assert_eq!(said(&other.execute(line).await.unwrap()), "changed\n");
    let line = "cat link; test -e new || echo none";
    assert_eq!(said(&one.execute(line).await.unwrap()), "text\nnone\n");
    // A fork of a fork, of one that stands still.
    other.pause().await.unwrap();
    let third = other.fork().await.unwrap();
    assert_eq!(other.state(), State::Paused);
    assert_eq!(
        said(&third.execute("cat link new").await.unwrap()),
        "changed\nnew\n"
    );
    for workspace in [one, other, third] {
        workspace.stop().await.unwrap();
    }
    world.finish();
}

#[tokio::test]
async fn a_fork_that_is_called_off_leaves_nothing_but_what_was_there() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = "for i in 1 2 3 4 5 6 7 8; do mkdir $i; for j in 1 2 3 4 5 6 7 8; do echo $j >$i/$j; done; done";
    assert!(workspace.execute(line).await.unwrap().success());
    for millis in [0, 1, 3, 10, 30, 100] {
        let late = std::time::Duration::from_millis(millis);
        if let Ok(fork) = tokio::time::timeout(late, workspace.fork()).await {
            fork.unwrap().stop().await.unwrap();
        }
        let result = workspace.execute("ls | wc -l");
        assert_eq!(said(&result.await.unwrap()).trim(), "8");
    }
    workspace.stop().await.unwrap();
    drop(workspace);
    world.finish();
}

#[tokio::test]
async fn what_has_no_layer_cannot_be_forked() {
    let world = World::new().await;
    let builder = world.workspace().working_dir("/tmp");
    let shared = world.folder().join("upper");
    std::fs::create_dir(&shared).unwrap();
    let builder = builder.with_spec(|_| world.spec().overlay(&shared));
    let workspace = builder.start().await.unwrap();
    let error = workspace.fork().await.unwrap_err();
    assert!(matches!(error, WorkspaceError::NoLayer), "{error}");
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_belongs_to_others_inside_is_copied_and_removed() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let line = "mkdir -p d/e && echo text >d/e/f && chown -R 33:33 d && chmod 700 d d/e";
    if !workspace.execute(line).await.unwrap().success() {
        eprintln!("not tested: there are no others");
        workspace.stop().await.unwrap();
        return world.finish();
    }
    let fork = workspace.fork().await.unwrap();
    let result = fork
        .execute("cat d/e/f; stat -c %u:%g d/e/f")
        .await
        .unwrap();
    assert_eq!(said(&result), "text\n33:33\n");
    fork.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

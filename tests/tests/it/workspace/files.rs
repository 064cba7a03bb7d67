//! Files of a workspace: more is in the tests of files themselves.

use fixtures::World;

use super::said;

#[tokio::test]
async fn paths_begin_in_the_working_directory() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let files = workspace.files();
    files.make_dir("sub").await.unwrap();
    files.write("sub/one", "text").await.unwrap();
    assert_eq!(
        &files.read("/workspace/sub/one").await.unwrap()[..],
        b"text"
    );
    files.rename("sub/one", "two").await.unwrap();
    let names: Vec<_> = files.list(".").await.unwrap();
    let names: Vec<_> = names
        .iter()
        .map(|entry| entry.name.to_str().unwrap())
        .collect();
    assert_eq!(names, ["sub", "two"]);
    let local = world.folder().join("local");
    std::fs::create_dir(&local).unwrap();
    std::fs::write(local.join("file"), "from the host").unwrap();
    files.upload(&local, "copied").await.unwrap();
    let result = workspace.execute("cat copied/file; echo back >copied/back");
    assert_eq!(said(&result.await.unwrap()), "from the host");
    let back = world.folder().join("back");
    files.download("copied", &back).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(back.join("back")).unwrap(),
        "back\n"
    );
    files.remove_all("copied").await.unwrap();
    assert!(!files.exists("copied").await.unwrap());
    assert!(files.read("").await.is_err());
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_fork_has_files_of_its_own() {
    let world = World::new().await;
    let one = world.workspace().start().await.unwrap();
    one.files().write("file", "one").await.unwrap();
    let other = one.fork().await.unwrap();
    other.files().write("file", "other").await.unwrap();
    assert_eq!(&one.files().read("file").await.unwrap()[..], b"one");
    assert_eq!(&other.files().read("file").await.unwrap()[..], b"other");
    for workspace in [one, other] {
        workspace.stop().await.unwrap();
    }
    world.finish();
}

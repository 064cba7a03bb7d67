//! OpenHands' own Python SDK, unmodified, as the client.

use std::path::Path;
use std::process::Stdio;

use apptainer::gateway::Gateway;
use fixtures::{OpenHands, World};

/// Runs a program for the SDK, which knows the gateway by its environment.
async fn python(world: &World, gateway: &Gateway, program: &str) {
    let script = world.folder().join("client.py");
    std::fs::write(&script, program).unwrap();
    let mut python = tokio::process::Command::new(OpenHands::find().python());
    python
        .arg(&script)
        .current_dir(world.folder())
        .env("HOST", gateway.url())
        .env("KEY", gateway.api_key())
        .env("OPENHANDS_SUPPRESS_BANNER", "1")
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        .env("no_proxy", "*")
        .stdin(Stdio::null());
    let output = python.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{wrong}");
    println!("{said}");
}

fn git(folder: &Path, words: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
    let mut git = std::process::Command::new("git");
    let output = git.current_dir(folder).args(identity).args(words).output();
    assert!(output.unwrap().status.success());
}

#[tokio::test]
async fn a_remote_workspace_works_in_an_image_without_python() {
    let world = World::new().await;
    let shared = world.folder().join("shared");
    std::fs::create_dir(&shared).unwrap();
    git(&shared, &["init", "-q"]);
    std::fs::write(shared.join("file"), "old\n").unwrap();
    git(&shared, &["add", "."]);
    git(&shared, &["commit", "-qm", "first"]);
    let workspace = world.workspace().mount_dir(&shared).start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    python(
        &world,
        &gateway,
        include_str!("../../../python/remote_workspace.py"),
    )
    .await;
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

//! Who one is to a registry.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use apptainer::Builder;
use apptainer::image::ImageError;
use fixtures::{Login, Registry, Request, Server, World, busybox_archive, respond};

use super::before;

const REFERENCE: &str = "APPTAINER_TESTS_REFERENCE";
const AUTH_FILE: &str = "APPTAINER_TESTS_AUTH_FILE";
const MIRROR: &str = "APPTAINER_TESTS_MIRROR";

/// Asks a registry that wants a login for an image.
async fn get(settings: impl FnOnce(Builder, &str) -> Builder) -> Result<(), ImageError> {
    let registry = Registry::start(Login::Required);
    registry.push(&busybox_archive(), "busybox:1");
    let host = registry.host();
    let world = World::with(|builder| settings(builder.http_registry(host), host)).await;
    let image = world.client().image(registry.reference("busybox:1")).await;
    world.finish();
    image.map(drop)
}

/// A file of credentials as Docker writes it.
fn auth_file(folder: &Path, content: &serde_json::Value) -> PathBuf {
    let path = folder.join("auth.json");
    fs::write(&path, content.to_string()).unwrap();
    path
}

/// `tester:secret`, in base64.
const ENCODED: &str = "dGVzdGVyOnNlY3JldA==";

#[tokio::test]
async fn a_login_that_the_program_names() {
    let got = get(|builder, host| builder.login(host, "tester", "secret")).await;
    got.unwrap();
}

#[tokio::test]
async fn a_password_that_is_wrong() {
    let got = get(|builder, host| builder.login(host, "tester", "wrongword")).await;
    let error = got.unwrap_err();
    assert!(error.is_unauthorized(), "{error:?}");
    assert!(!error.may_pass());
    assert!(!format!("{error} {error:?}").contains("wrongword"));
}

#[tokio::test]
async fn a_login_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let got = get(|builder, host| {
        let auths = serde_json::json!({ "auths": { host: { "auth": ENCODED } } });
        builder.auth_file(auth_file(folder.path(), &auths))
    });
    got.await.unwrap();
}

#[tokio::test]
async fn a_file_with_the_login_of_another_registry() {
    let folder = tempfile::tempdir().unwrap();
    let got = get(|builder, _| {
        let auths = serde_json::json!({ "auths": { "example.org": { "auth": ENCODED } } });
        builder.auth_file(auth_file(folder.path(), &auths))
    });
    assert!(got.await.unwrap_err().is_unauthorized());
}

#[tokio::test]
async fn a_file_that_is_not_there() {
    let got = get(|builder, _| builder.auth_file("/nosuch/auth.json")).await;
    let error = got.unwrap_err();
    assert!(error.to_string().contains("/nosuch/auth.json"), "{error}");
}

/// Not a test: a program with a helper on its `PATH`.
#[tokio::test]
#[ignore = "run by a test, as a process of its own"]
async fn with_helper() {
    let [Some(reference), Some(auth_file)] = [REFERENCE, AUTH_FILE].map(std::env::var_os) else {
        return;
    };
    let world = World::with(|builder| builder.auth_file(auth_file)).await;
    world.client().image(reference).no_https().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_login_that_a_helper_keeps() {
    let registry = Registry::start(Login::Required);
    registry.push(&busybox_archive(), "busybox:1");
    let host = registry.host();
    let folder = tempfile::tempdir().unwrap();
    let helper = folder.path().join("docker-credential-tests");
    let answer = r#"{"Username":"tester","Secret":"secret"}"#;
    let script = format!(
        "#!/bin/sh\nread -r server\n[ \"$1 $server\" = 'get {host}' ] && echo '{answer}'\n"
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let helpers = serde_json::json!({ "credHelpers": { host: "tests" } });
    let path = format!(
        "{}:{}",
        folder.path().display(),
        std::env::var("PATH").unwrap()
    );
    let name = "resolve::credentials::with_helper";
    let run = |path: &str| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args([name, "--exact", "--ignored", "--nocapture"])
            .env("PATH", path)
            .env(REFERENCE, registry.reference("busybox:1"))
            .env(AUTH_FILE, auth_file(folder.path(), &helpers));
        program.output().unwrap()
    };
    let output = run(&path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    assert!(!run(&std::env::var("PATH").unwrap()).status.success());
}

/// Not a test: a program with credentials in its environment, and a mirror.
#[tokio::test]
#[ignore = "run by a test, as a process of its own"]
async fn with_variables() {
    let [Ok(reference), Ok(mirror)] = [REFERENCE, MIRROR].map(std::env::var) else {
        return;
    };
    let parsed: apptainer::image::Reference = reference.parse().unwrap();
    let registry = parsed.registry().unwrap();
    let world = World::with(|builder| {
        let builder = builder.http_registry(registry).http_registry(&mirror);
        builder.mirror(registry, &mirror)
    });
    let world = world.await;
    world.client().image(reference).await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_mirror_is_not_given_what_the_environment_has_for_the_registry() {
    let registry = Registry::start(Login::Required);
    registry.push(&busybox_archive(), "busybox:1");
    let mirror = Server::start(|_, stream| {
        let wanted = "WWW-Authenticate: Basic realm=\"tests\"\r\n";
        respond(stream, "401 Unauthorized", wanted, "")
    });
    let mut program = Command::new(std::env::current_exe().unwrap());
    let name = "resolve::credentials::with_variables";
    program
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env("APPTAINER_DOCKER_USERNAME", "tester")
        .env("APPTAINER_DOCKER_PASSWORD", "secret")
        .env(REFERENCE, registry.reference("busybox:1"))
        .env(MIRROR, mirror.host());
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
    let requests = mirror.requests();
    assert!(!requests.is_empty());
    let is_told = |request: &Request| request.header("Authorization").is_some();
    assert!(!requests.iter().any(is_told), "{requests:?}");
}

#[tokio::test]
async fn nobody_is_told_who_does_not_ask() {
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let server = before(&registry);
    let world = World::with(|builder| {
        let builder = builder.http_registry(server.host());
        builder.login(server.host(), "tester", "secret")
    });
    let world = world.await;
    let image = world.client().image(server.reference("busybox:1"));
    image.await.unwrap();
    let requests = server.requests();
    assert!(!requests.is_empty());
    let is_told = |request: &Request| request.header("Authorization").is_some();
    assert!(!requests.iter().any(is_told), "{requests:?}");
    world.finish();
}

#[tokio::test]
async fn another_registry_that_asks_is_told_nothing() {
    let server = Server::start(|_, stream| {
        let wanted = "WWW-Authenticate: Basic realm=\"tests\"\r\n";
        respond(stream, "401 Unauthorized", wanted, "")
    });
    let world = World::with(|builder| {
        let builder = builder.http_registry(server.host());
        builder.login("example.org", "tester", "secret")
    });
    let world = world.await;
    let error = world.client().image(server.reference("a:1")).await;
    assert!(error.unwrap_err().is_unauthorized());
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("Authorization"), None);
    world.finish();
}

//! Images that are built from definitions.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use apptainer::Image;
use apptainer::image::{Definition, ImageError, PullPolicy, SignaturePolicy};
use fixtures::{Login, Registry, World, builds_images, busybox_archive, busybox_sif};

/// What a program in the image writes.
async fn prints(image: &Image, argv: &[impl AsRef<OsStr>]) -> Vec<u8> {
    let mut container = image.container();
    if nix::unistd::geteuid().is_root() {
        container = container.no_privileges();
    }
    let mut command = container.command(&argv[0]);
    let output = command.args(&argv[1..]).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout.to_vec()
}

async fn text(image: &Image, argv: &[&str]) -> String {
    String::from_utf8(prints(image, argv).await).unwrap()
}

/// What tells one build from another.
const MARK: &str = "cat /proc/sys/kernel/random/uuid > /mark";

async fn mark(image: &Image) -> String {
    text(image, &["cat", "/mark"]).await
}

fn busybox() -> Definition {
    Definition::from_image(busybox_sif())
}

#[tokio::test]
async fn files_arrive_whatever_they_are_called() {
    const NAMES: [&[u8]; 10] = [
        b"plain",
        b"two words ",
        b"'\"",
        b"new\nline",
        b"*?[a]{b,c}",
        b"100%\\n",
        b"$HOME `id`;&|",
        b"{{ a }}",
        b"-rf",
        b"\xff\xfe",
    ];
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let tree = world.folder().join("my tree");
    fs::create_dir_all(tree.join("in ner")).unwrap();
    let mut definition = busybox();
    for name in NAMES {
        let name = Path::new(OsStr::from_bytes(name));
        let file = world.folder().join(name);
        for path in [&file, &tree.join("in ner").join(name)] {
            fs::write(path, name.as_os_str().as_bytes()).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o754)).unwrap();
        }
        definition = definition
            .files(&file, Path::new("/named").join(name))
            .files(&file, "/into/");
    }
    let definition =
        definition
            .files(&tree, "/trees/copy")
            .file_with("secret", "/etc/new/secret", 0o640);
    let image = world.client().build(definition).await.unwrap();
    let mut expected = NAMES.to_vec();
    expected.sort_unstable();
    for folder in ["/named", "/into", "/trees/copy/in ner"] {
        // Apptainer takes no words that are not UTF-8.
        const LIST: &str = r#"cd "$0" && for name in *; do
            printf '%s\0%s\0%s\0' "$name" "$(cat -- "$name")" "$(stat -c %a -- "$name")"
        done"#;
        let listed = prints(&image, &["sh", "-c", LIST, folder]).await;
        let words: Vec<&[u8]> = listed.split(|byte| *byte == 0).collect();
        let mut names = Vec::new();
        for file in words.chunks_exact(3) {
            assert_eq!((file[0], file[2]), (file[1], &b"754"[..]), "{folder}");
            names.push(file[0]);
        }
        names.sort_unstable();
        assert_eq!(names, expected, "{folder}");
    }
    let mode = text(&image, &["stat", "-c%a", "/etc/new/secret"]).await;
    assert_eq!(mode, "640\n");
    world.finish();
}

#[tokio::test]
async fn environment_values_arrive_whatever_they_hold() {
    const VALUES: [&str; 10] = [
        "",
        "it's \"5$\"",
        "$HOME `id` $(id) \\ \\n !1",
        "\n\n lines \n",
        "\n%post\n  %x\nBootstrap: docker",
        "carriage\r\nreturn\r",
        "{{ a }} {{a}} # {{ b }}",
        "\u{1}\u{1b}\u{7f}",
        "é\n\u{a0}%x",
        "~ * -n",
    ];
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let mut definition = busybox();
    let mut script = String::new();
    for (index, value) in VALUES.iter().enumerate() {
        definition = definition.environment(format!("VALUE_{index}"), *value);
        script += &["printf '%s\\0' \"$VALUE_", &index.to_string(), "\"\n"].concat();
    }
    let image = world.client().build(definition).await.unwrap();
    let printed = text(&image, &["sh", "-c", &script]).await;
    let values: Vec<&str> = printed.split_terminator('\0').collect();
    assert_eq!(values, VALUES);
    world.finish();
}

#[tokio::test]
async fn scripts_labels_and_help_are_in_the_image() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let definition = busybox()
        .post("cat > /made <<'END'\n%post\n  % it's {{ a }}\nbootstrap: x\nEND")
        .post("echo more >> /made")
        .runscript("printf '%s|' \"$@\"\ncat <<'END'\n%files\nEND")
        .startscript("#!/bin/sh\nexec sleep 1000")
        .test("test -e /made")
        .label("org.example.name", "a  {{ b }} # \"c\"")
        .help("  Use {{ it }}.\n\n# Well.");
    let image = world.client().build(definition).await.unwrap();
    let made = text(&image, &["cat", "/made"]).await;
    assert_eq!(made, "%post\n  % it's {{ a }}\nbootstrap: x\nmore\n");
    let run = text(&image, &["/.singularity.d/runscript", "a", "b c"]).await;
    assert_eq!(run, "a|b c|%files\n");
    let start = text(&image, &["cat", "/.singularity.d/startscript"]).await;
    assert!(start.starts_with("#!/bin/sh\n"), "{start}");
    assert!(start.contains("exec sleep 1000"), "{start}");
    text(&image, &["/.singularity.d/test"]).await;
    let labels = text(&image, &["cat", "/.singularity.d/labels.json"]).await;
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels["org.example.name"], "a  {{ b }} # \"c\"");
    let help = text(&image, &["cat", "/.singularity.d/runscript.help"]).await;
    assert_eq!(help.trim_end(), "  Use {{ it }}.\n\n# Well.");
    world.finish();
}

#[tokio::test]
async fn labels_and_help_take_the_place_of_the_bases() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let base = busybox().label("name", "base").help("base").post(MARK);
    let base = world.client().build(base).await.unwrap();
    let top = Definition::from_image(base.sif().unwrap());
    let top = top.label("name", "top").help("top");
    let image = world.client().build(top).await.unwrap();
    assert_eq!(mark(&image).await, mark(&base).await);
    let labels = text(&image, &["cat", "/.singularity.d/labels.json"]).await;
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels["name"], "top");
    let help = text(&image, &["cat", "/.singularity.d/runscript.help"]).await;
    assert_eq!(help.trim_end(), "top");
    world.finish();
}

#[tokio::test]
async fn what_was_built_is_built_again_only_if_something_changed() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let file = world.folder().join("file");
    fs::write(&file, "1").unwrap();
    let definition = || busybox().files(&file, "/etc/file").post(MARK);
    let build = async |definition| {
        let image = world.client().build(definition).await.unwrap();
        mark(&image).await
    };
    let first = build(definition()).await;
    assert_eq!(build(definition()).await, first);

    let elsewhere = world.folder().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(&file, elsewhere.join("file")).unwrap();
    let same = busybox().files(elsewhere.join("file"), "/etc/file");
    assert_eq!(build(same.post(MARK)).await, first);

    let mut seen = vec![first];
    let mut is_new = |mark: String| {
        assert!(!seen.contains(&mark));
        seen.push(mark);
    };
    fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
    is_new(build(definition()).await);
    fs::write(&file, "2").unwrap();
    is_new(build(definition()).await);
    is_new(build(definition().environment("A", "b")).await);
    world.finish();
}

#[tokio::test]
async fn it_is_built_again_when_that_is_asked_for_and_that_stays() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let build = || world.client().build(busybox().post(MARK));
    let first = mark(&build().await.unwrap()).await;
    let second = mark(&build().rebuild().await.unwrap()).await;
    assert_ne!(first, second);
    assert_eq!(mark(&build().await.unwrap()).await, second);
    world.finish();
}

#[tokio::test]
async fn a_build_that_is_used_stays_whatever_is_built_again() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let build = || world.client().build(busybox().post(MARK));
    let held = build().await.unwrap();
    let first = mark(&held).await;
    let late = build().rebuild().timeout(Duration::from_millis(30)).await;
    assert!(late.is_err());
    assert_eq!(mark(&held).await, first);
    let again = build().rebuild().await.unwrap();
    assert_eq!(mark(&held).await, first);
    // Once that is gone, the first counts again, and nothing is built.
    let path = again.sif().unwrap().to_owned();
    drop(again);
    let store = world.client().store();
    for image in store.list().await.unwrap() {
        if image.path == path || !image.is_in_use {
            store.remove(&image).await.unwrap();
        }
    }
    assert_eq!(build().await.unwrap().path(), held.path());
    world.finish();
}

#[tokio::test]
async fn what_was_built_is_not_used_where_its_base_should_have_been_signed() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let build = || world.client().build(busybox().post(MARK));
    build().await.unwrap();
    let signed = build().base_signatures(SignaturePolicy::require_any_trusted());
    let error = signed.await.unwrap_err();
    assert!(matches!(error, ImageError::Signature(_)), "{error}");
    world.finish();
}

#[tokio::test]
async fn nobody_tells_what_a_script_of_the_host_does_so_it_is_run_each_time() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let text = format!(
        "Bootstrap: localimage\nFrom: {}\n%setup\ntrue\n%post\n{MARK}\n",
        busybox_sif().display()
    );
    let build = || world.client().build(Definition::from_text(&text));
    let first = mark(&build().await.unwrap()).await;
    assert_ne!(mark(&build().await.unwrap()).await, first);
    world.finish();
}

#[tokio::test]
async fn a_tag_that_moves_makes_another_image() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "base:1");
    let base = registry.reference("base:1");
    let build = |policy| {
        let definition = Definition::from_image(&base).post(MARK);
        world.client().build(definition).policy(policy).no_https()
    };
    let first = build(PullPolicy::Always).await.unwrap();
    let again = build(PullPolicy::Always).await.unwrap();
    assert_eq!(first.path(), again.path());
    let archive = world.folder().join("other.tar");
    fs::copy(busybox_archive(), &archive).unwrap();
    fs::write(world.folder().join("more"), "more").unwrap();
    let added = std::process::Command::new("tar")
        .args(["--append", "-f"])
        .arg(&archive)
        .arg("-C")
        .args([world.folder(), Path::new("more")])
        .status();
    assert!(added.unwrap().success());
    registry.push(&archive, "base:1");
    let same = build(PullPolicy::IfMissing).await.unwrap();
    assert_eq!(first.path(), same.path());
    let other = build(PullPolicy::Always).await.unwrap();
    assert_eq!(text(&other, &["cat", "/more"]).await, "more");
    // What was built is there without what it was built on, and without anybody asked.
    drop((first, again, same, other));
    let store = world.client().store();
    for image in store.list().await.unwrap() {
        if image.digest.is_some() {
            store.remove(&image).await.unwrap();
        }
    }
    let before = registry.requests("/v2/");
    build(PullPolicy::IfOlderThan(Duration::from_secs(3600)))
        .await
        .unwrap();
    assert_eq!(registry.requests("/v2/"), before);
    world.finish();
}

#[tokio::test]
async fn a_script_that_fails_is_told_with_what_it_wrote() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    let definition = busybox().post("echo too bad >&2\nexit 7");
    let error = world.client().build(definition.clone()).await.unwrap_err();
    assert!(matches!(error, ImageError::Apptainer { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("too bad"), "{error:?}");
    // And leaves nothing that would be taken for an image.
    let again = world.client().build(definition).await;
    assert!(matches!(again, Err(ImageError::Apptainer { .. })));
    let said = busybox().post("echo out of luck; exit 1");
    let error = world.client().build(said).await.unwrap_err();
    assert!(format!("{error:?}").contains("out of luck"), "{error:?}");
    let failing_test = busybox().test("echo unfit >&2; exit 1");
    let error = world.client().build(failing_test).await.unwrap_err();
    assert!(format!("{error:?}").contains("unfit"), "{error:?}");
    world.finish();
}

#[tokio::test]
async fn a_definition_file_of_several_stages_is_built() {
    let world = World::new().await;
    if !builds_images() {
        return;
    }
    for name in ["1.txt", "2 $.txt"] {
        fs::write(world.folder().join(name), name).unwrap();
    }
    let path = world.folder().join("image.def");
    let definition = format!(
        r#"# What is this?
Bootstrap: localimage
From: {{{{ base }}}}
Stage: first

%arguments
    word=default

%setup
    echo setup > "$APPTAINER_ROOTFS/setup"

%post
    echo {{{{ word }}}} > /word
    # {{{{ nothing }}}}

Bootstrap: localimage
From: {{{{ base }}}}

%files
    {folder}/*.txt    /texts/
%files from first
    /word
    /setup  /from-setup
%appfiles tool
    {folder}/1.txt app.txt  # A comment.
"#,
        folder = world.folder().display()
    );
    fs::write(&path, definition).unwrap();
    let base = busybox_sif();
    let base = base.to_str().unwrap();
    let definition = Definition::from_file(&path)
        .argument("base", base)
        .environment("ADDED", "to the last stage");
    let image = world.client().build(definition.clone()).await.unwrap();
    let shown = [
        ("/word", "default\n"),
        ("/from-setup", "setup\n"),
        ("/texts/1.txt", "1.txt"),
        ("/texts/2 $.txt", "2 $.txt"),
        ("/scif/apps/tool/app.txt", "1.txt"),
    ];
    for (path, content) in shown {
        assert_eq!(text(&image, &["cat", path]).await, content, "{path}");
    }
    let added = text(&image, &["sh", "-c", "echo \"$ADDED\""]).await;
    assert_eq!(added, "to the last stage\n");

    let other = definition.argument("word", "{{ other }}");
    let image = world.client().build(other).await.unwrap();
    assert_eq!(text(&image, &["cat", "/word"]).await, "{{ other }}\n");
    world.finish();
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_told_before_anything_is_done() {
    let world = World::new().await;
    let missing = busybox().files("/nosuch file", "/a");
    let line = busybox().runscript("#!/usr/bin/python3\nprint('%d'\n% 1)");
    let section = Definition::from_text("Bootstrap: scratch\n%pots\n");
    let argument = Definition::from_text("Bootstrap: scratch\n%post\n{{ a }}\n");
    for definition in [missing, line, section, argument] {
        let error = world.client().build(definition).await.unwrap_err();
        assert!(matches!(error, ImageError::Definition(_)), "{error:?}");
    }
    let left = fs::read_dir(world.folder()).unwrap().count();
    assert!(left <= 2, "{left} things in the folder");
    world.finish();
}

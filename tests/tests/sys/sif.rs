//! SIF files as we read them, against what `apptainer` says of them.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use apptainer::sys::output::ListedObject;
use apptainer::sys::sif::{Arch, Detail, FsType, HashType, SifFile, SifWriter};
use fixtures::{Login, Registry, World, busybox_archive, busybox_sandbox, busybox_sif};
use serde_json::Value;

use crate::{apptainer, apptainer_with};

/// Compares everything that both sides say of an image.
fn both_say_the_same(image: &Path) -> SifFile {
    let path = image.to_str().unwrap();
    let sif = SifFile::open(image).unwrap();

    let listed = ListedObject::parse(&apptainer(&["sif", "list", path]));
    let ours = sif.table().descriptors();
    assert_eq!(listed.len(), ours.len());
    for (theirs, ours) in listed.iter().zip(ours) {
        assert_eq!((theirs.id, theirs.group), (ours.id, ours.group));
        assert_eq!(theirs.link, ours.link);
        assert_eq!((theirs.start, Some(theirs.end)), (ours.offset, ours.end()));
        assert_eq!(theirs.kind, ours.to_string());
        let mut bytes = Vec::new();
        sif.object(ours).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, ours.size);
    }

    let inspected: Value =
        serde_json::from_str(&apptainer(&["inspect", "--json", "--all", path])).unwrap();
    let metadata = sif.metadata().unwrap().unwrap();
    // Nothing is lost on the way through our types.
    assert_eq!(serde_json::to_value(metadata).unwrap(), inspected);
    let document = ours
        .iter()
        .find(|object| object.name == "inspect-metadata.json");
    let document: Value = serde_json::from_reader(sif.object(document.unwrap())).unwrap();
    assert_eq!(document, inspected);
    sif
}

/// An image built from `definition`, by whoever is root in it.
fn built(world: &World, name: &str, definition: &str) -> PathBuf {
    let file = world.folder().join(format!("{name}.def"));
    let image = world.folder().join(format!("{name}.sif"));
    fs::write(&file, definition).unwrap();
    apptainer(&["build", image.to_str().unwrap(), file.to_str().unwrap()]);
    image
}

#[tokio::test]
async fn an_image_made_of_a_directory() {
    let world = World::new().await;
    let sif = both_say_the_same(&busybox_sif());
    let root = sif.primary_partition().unwrap();
    let Detail::Partition { fs, arch, .. } = root.detail else {
        panic!("it is a partition: {root:?}");
    };
    assert_eq!(fs, FsType::Squashfs);
    assert_eq!(arch, sif.table().header().arch);
    assert_ne!(arch, Arch::Unknown);
    assert_eq!(sif.signatures().count(), 0);
    let mut magic = [0; 4];
    sif.object(root).read_exact(&mut magic).unwrap();
    assert_eq!(&magic, b"hsqs");
    world.finish();
}

#[tokio::test]
async fn an_image_made_of_a_definition_with_apps() {
    let world = World::new().await;
    // Not of a SIF file, which root may not unpack everywhere.
    let root = world.folder().join("root");
    busybox_sandbox(&root);
    let definition = format!(
        "Bootstrap: localimage\nFrom: {}\n\n\
         %labels\n    Author alice\n    Quote a \"b\" c\n\n\
         %environment\n    export GREETING='hello, world'\n\n\
         %runscript\n    echo run \"$@\"\n\n\
         %startscript\n    sleep 1000\n\n\
         %test\n    true\n\n\
         %help\n    Ask alice.\n\n\
         %apprun tool\n    echo tool\n\n\
         %applabels tool\n    Version 2\n\n\
         %apphelp tool\n    A tool.\n",
        root.display()
    );
    let sif = both_say_the_same(&built(&world, "apps", &definition));
    let attributes = sif.metadata().unwrap().unwrap().data.attributes;
    assert_eq!(attributes.labels["Author"], "alice");
    assert!(attributes.runscript.contains("echo run"));
    assert!(attributes.apps.contains_key("tool"));
    assert_eq!(attributes.helpfile.trim(), "Ask alice.");
    let source = sif.definition_file().unwrap().unwrap();
    assert!(source.contains("%apprun tool"), "{source}");
    world.finish();
}

#[tokio::test]
async fn an_image_made_of_an_oci_image() {
    let world = World::new().await;
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let image = world
        .client()
        .image(registry.reference("busybox:1"))
        .no_https()
        .await
        .unwrap();
    let sif = both_say_the_same(image.sif().unwrap());
    assert!(sif.oci_config().unwrap().is_some());
    world.finish();
}

#[tokio::test]
async fn an_image_with_a_writable_layer_and_a_signature() {
    let world = World::new().await;
    let image = world.folder().join("signed.sif");
    fs::copy(busybox_sif(), &image).unwrap();
    let path = image.to_str().unwrap();
    apptainer(&["overlay", "create", "--size", "64", path]);
    let overlay = both_say_the_same(&image);
    let last = overlay.table().descriptors().last().unwrap();
    assert_eq!(last.to_string().split('/').nth(1), Some("Overlay"));

    let keys = world.folder().join("config");
    let owner = [
        "--name",
        "Alice",
        "--email",
        "alice@example.org",
        "--comment",
        "tests",
    ];
    let new_key = [
        &["key", "newpair", "--password", "", "--push=false"],
        &owner[..],
    ]
    .concat();
    apptainer_with(&new_key, &[("APPTAINER_CONFIGDIR", keys.as_path())]);
    apptainer_with(&["sign", path], &[("APPTAINER_CONFIGDIR", keys.as_path())]);
    let signed = both_say_the_same(&image);
    let signatures: Vec<_> = signed.signatures().collect();
    assert!(!signatures.is_empty());
    for signature in signatures {
        let Detail::Signature { hash, fingerprint } = &signature.detail else {
            panic!("it is a signature: {signature:?}");
        };
        assert_eq!((*hash, fingerprint.len()), (HashType::Sha256, 20));
    }
    world.finish();
}

#[tokio::test]
async fn an_encrypted_image() {
    let world = World::new().await;
    let root = world.folder().join("root");
    busybox_sandbox(&root);
    let [key, public, image] =
        ["key.pem", "public.pem", "secret.sif"].map(|name| world.folder().join(name));
    let openssl = |words: &[&OsStr]| {
        let output = std::process::Command::new("openssl").args(words).output();
        assert!(output.unwrap().status.success(), "{words:?}");
    };
    let (to, from) = (OsStr::new("-out"), OsStr::new("-in"));
    openssl(&[
        "genrsa".as_ref(),
        "-traditional".as_ref(),
        to,
        key.as_ref(),
        "2048".as_ref(),
    ]);
    openssl(&[
        "rsa".as_ref(),
        "-RSAPublicKey_out".as_ref(),
        from,
        key.as_ref(),
        to,
        public.as_ref(),
    ]);
    let build = ["build", "--encrypt", "--pem-path", public.to_str().unwrap()];
    let words = [image.to_str().unwrap(), root.to_str().unwrap()];
    apptainer(&[&build[..], &words].concat());

    let sif = both_say_the_same(&image);
    let Detail::Partition { fs, .. } = sif.primary_partition().unwrap().detail else {
        panic!("it is a partition");
    };
    assert_eq!(fs, FsType::Gocryptfs);
    let sealed = sif.table().descriptors().last().unwrap();
    assert!(matches!(sealed.detail, Detail::CryptoMessage { .. }));
    let key = key.to_str().unwrap();
    let exec = ["exec", "--pem-path", key, image.to_str().unwrap()];
    assert_eq!(
        apptainer(&[&exec[..], &["echo", "hello"]].concat()),
        "hello\n"
    );
    world.finish();
}

#[tokio::test]
async fn an_image_that_we_wrote() {
    let world = World::new().await;
    let root = world.folder().join("root");
    busybox_sandbox(&root);
    let squashfs = world.folder().join("root.squashfs");
    let squashed = std::process::Command::new("mksquashfs")
        .args([&root, &squashfs])
        .args(["-quiet", "-no-progress", "-all-root"])
        .output()
        .unwrap();
    assert!(squashed.status.success());

    let metadata = r#"{"data":{"attributes":{"labels":{"Author":"alice"},
        "deffile":"bootstrap: scratch"}},"type":"container"}"#;
    let mut writer = SifWriter::new(Arch::of_this_machine());
    writer.definition_file("bootstrap: scratch\n");
    writer
        .metadata(&serde_json::from_str(metadata).unwrap())
        .unwrap();
    writer.oci_config(&serde_json::json!({})).unwrap();
    writer
        .primary_partition(FsType::Squashfs, &squashfs)
        .unwrap();
    let image = world.folder().join("ours.sif");
    let mut file = fs::File::create_new(&image).unwrap();
    writer.write(&mut file).unwrap();
    drop(file);

    both_say_the_same(&image);
    let found = world.client().image(&image).await.unwrap();
    let output = found
        .container()
        .command("echo")
        .arg("hello")
        .output()
        .await;
    assert_eq!(output.unwrap().stdout, "hello\n");

    let keys = world.folder().join("config");
    let path = image.to_str().unwrap();
    let keyring = [("APPTAINER_CONFIGDIR", keys.as_path())];
    let owner = [
        "--name",
        "Alice",
        "--email",
        "alice@example.org",
        "--comment",
        "tests",
    ];
    let new_key = [
        "key",
        "newpair",
        "--bit-length",
        "2048",
        "--password",
        "",
        "--push=false",
    ];
    apptainer_with(&[&new_key, &owner[..]].concat(), &keyring);
    apptainer_with(&["sign", path], &keyring);
    apptainer_with(&["verify", "--local", path], &keyring);
    assert_eq!(both_say_the_same(&image).signatures().count(), 1);
    world.finish();
}

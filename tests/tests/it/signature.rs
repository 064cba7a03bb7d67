//! Images that are signed, and not, and signed by the wrong hands.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use apptainer::image::{Fingerprint, ImageError, SignatureError, SignaturePolicy, Signatures};
use apptainer::sys::sif::{DataType, Sif};
use fixtures::{World, busybox_sandbox, busybox_sif};

/// Somebody with a key of their own.
struct Person {
    home: PathBuf,
    fingerprint: Fingerprint,
}

impl Person {
    fn new(world: &World, name: &str) -> Self {
        let home = world.folder().join(name);
        fs::create_dir(&home).unwrap();
        let email = format!("{name}@example.org");
        let new_pair = ["key", "newpair", "--bit-length", "2048", "--push=false"];
        let identity = ["--name", name, "--email", &email, "--comment", ""];
        apptainer_of(&home, |command| {
            command
                .args(new_pair)
                .args(identity)
                .args(["--password", ""])
        });
        let listed = apptainer_of(&home, |command| command.args(["key", "list"]));
        let fingerprint = listed
            .lines()
            .find_map(|line| line.trim().strip_prefix("Fingerprint:"))
            .unwrap();
        Self {
            fingerprint: fingerprint.parse().unwrap(),
            home,
        }
    }

    /// Puts the key into the keyring of this world's client.
    fn is_known_in(&self, world: &World) {
        let config = world.folder().join("config");
        fs::create_dir_all(&config).unwrap();
        let public = self.home.join("public.asc");
        fs::copy(self.home.join("keys/pgp-public"), &public).unwrap();
        apptainer_of(&config, |command| {
            command.args(["key", "import"]).arg(&public)
        });
    }

    /// A copy of the busybox image that is signed.
    fn signed(&self, world: &World, name: &str) -> PathBuf {
        let sif = unsigned(world, name);
        self.sign(&sif, &[]);
        sif
    }

    fn sign(&self, sif: &Path, of_what: &[&str]) {
        apptainer_of(&self.home, |command| {
            command.arg("sign").args(of_what).arg(sif)
        });
    }
}

fn unsigned(world: &World, name: &str) -> PathBuf {
    let sif = world.folder().join(name);
    fs::copy(busybox_sif(), &sif).unwrap();
    sif
}

/// What `apptainer` prints for the user whose home is here.
fn apptainer_of(home: &Path, arguments: impl FnOnce(&mut Command) -> &mut Command) -> String {
    let mut command = Command::new("apptainer");
    command.arg("--quiet").env("APPTAINER_CONFIGDIR", home);
    let output = arguments(&mut command).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Adds an object to an image: in this group, or in none.
fn add_object(world: &World, sif: &Path, group: Option<&str>) {
    let object = world.folder().join("object");
    fs::write(&object, "anything").unwrap();
    let group = group.map(|group| ["--groupid", group]);
    apptainer_of(world.folder(), |command| {
        command
            .args(["sif", "add", "--datatype", "7"])
            .args(group.iter().flatten())
            .args([sif, &object])
    });
}

/// Where the identity is in the header.
const UUID: u64 = 48;

/// Changes a byte.
fn flip(sif: &Path, offset: u64) {
    let file = OpenOptions::new().read(true).write(true).open(sif).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

async fn check(
    world: &World,
    image: &Path,
    policy: SignaturePolicy,
) -> Result<apptainer::Image, SignatureError> {
    match world.client().image(image).signatures(policy).await {
        Ok(image) => Ok(image),
        Err(ImageError::Signature(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

async fn refusal(world: &World, image: &Path, policy: SignaturePolicy) -> SignatureError {
    let error = check(world, image, policy).await.unwrap_err();
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

fn names(signatures: &Signatures) -> Vec<&str> {
    let signers = signatures.signers().iter();
    signers.map(|signer| signer.name.as_str()).collect()
}

#[tokio::test]
async fn an_image_that_nobody_signed_is_refused_where_a_signature_is_required() {
    let world = World::new().await;
    let image = unsigned(&world, "image.sif");
    let ignored = check(&world, &image, SignaturePolicy::Ignore).await;
    assert!(ignored.unwrap().signatures().problem().is_none());

    let warned = check(&world, &image, SignaturePolicy::warn())
        .await
        .unwrap();
    let problem = warned.signatures().problem();
    assert!(
        matches!(problem, Some(SignatureError::Unsigned { .. })),
        "{problem:?}"
    );

    let policy = SignaturePolicy::require_any_trusted();
    let error = refusal(&world, &image, policy).await;
    assert!(
        matches!(error, SignatureError::Unsigned { .. }),
        "{error:?}"
    );
    world.finish();
}

#[tokio::test]
async fn an_image_that_a_known_key_signed_is_used() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    for policy in [
        SignaturePolicy::warn(),
        SignaturePolicy::require_any_trusted(),
        SignaturePolicy::require([ann.fingerprint]),
    ] {
        let image = check(&world, &image, policy).await.unwrap();
        assert!(image.signatures().problem().is_none());
        let [signer] = image.signatures().signers() else {
            panic!("{:?}", image.signatures());
        };
        assert_eq!(signer.name, "ann <ann@example.org>");
        assert_eq!(signer.fingerprint, Some(ann.fingerprint));
        assert!(signer.has_local_key && signer.is_verified);
    }
    world.finish();
}

#[tokio::test]
async fn a_key_that_is_not_in_the_keyring_is_not_trusted_though_it_is_named() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    let image = ann.signed(&world, "image.sif");
    for policy in [
        SignaturePolicy::require_any_trusted(),
        SignaturePolicy::require([ann.fingerprint]),
    ] {
        let error = refusal(&world, &image, policy).await;
        let SignatureError::NotTrusted { signers, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(signers[0].fingerprint, Some(ann.fingerprint));
        assert!(!signers[0].is_verified);
        assert!(
            error.to_string().contains(&ann.fingerprint.to_string()),
            "{error}"
        );
    }
    world.finish();
}

#[tokio::test]
async fn a_known_key_that_is_not_named_is_not_trusted() {
    let world = World::new().await;
    let [ann, ben] = ["ann", "ben"].map(|name| Person::new(&world, name));
    ann.is_known_in(&world);
    ben.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    for named in [vec![ben.fingerprint], Vec::new()] {
        let error = refusal(&world, &image, SignaturePolicy::require(named)).await;
        let SignatureError::NotTrusted { signers, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(signers[0].fingerprint, Some(ann.fingerprint));
    }
    world.finish();
}

#[tokio::test]
async fn a_byte_that_was_changed_after_signing_is_found() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    let sif = Sif::open(&image).unwrap();
    let mut objects = sif.descriptors().iter();
    let partition = objects
        .find(|object| object.is_primary_partition())
        .unwrap();
    // Squashfs fills its last block up with zeros: it can be extracted all the same.
    let padding = partition.offset + partition.size - 1;
    for (name, offset) in [("data.sif", padding), ("header.sif", UUID)] {
        let changed = world.folder().join(name);
        fs::copy(&image, &changed).unwrap();
        flip(&changed, offset);
        let policy = SignaturePolicy::require_any_trusted();
        let error = refusal(&world, &changed, policy).await;
        assert!(
            matches!(error, SignatureError::Tampered { .. }),
            "{name}: {error:?}"
        );
        let warned = check(&world, &changed, SignaturePolicy::warn())
            .await
            .unwrap();
        assert!(warned.signatures().problem().is_some());
    }
    world.finish();
}

#[tokio::test]
async fn what_is_added_after_signing_is_not_covered() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    for (name, group) in [
        ("none.sif", None),
        ("same.sif", Some("1")),
        ("new.sif", Some("2")),
    ] {
        let image = ann.signed(&world, name);
        add_object(&world, &image, group);
        let policy = SignaturePolicy::require([ann.fingerprint]);
        let error = refusal(&world, &image, policy).await;
        assert!(
            matches!(error, SignatureError::Uncovered { .. }),
            "{name}: {error:?}"
        );
    }
    world.finish();
}

#[tokio::test]
async fn a_signature_of_one_object_does_not_cover_the_image() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    let image = unsigned(&world, "image.sif");
    ann.sign(&image, &["--sif-id", "1"]);
    let policy = SignaturePolicy::require([ann.fingerprint]);
    let error = refusal(&world, &image, policy).await;
    assert!(
        matches!(error, SignatureError::Uncovered { .. }),
        "{error:?}"
    );
    world.finish();
}

#[tokio::test]
async fn an_image_whose_signature_was_removed_is_not_signed() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    let sif = Sif::open(&image).unwrap();
    let mut objects = sif.descriptors().iter();
    let signature = objects
        .find(|object| object.kind == DataType::Signature)
        .unwrap();
    apptainer_of(&ann.home, |command| {
        let id = signature.id.to_string();
        command.args(["sif", "del", &id]).arg(&image)
    });
    let policy = SignaturePolicy::require_any_trusted();
    let error = refusal(&world, &image, policy).await;
    assert!(
        matches!(error, SignatureError::Unsigned { .. }),
        "{error:?}"
    );
    world.finish();
}

#[tokio::test]
async fn of_two_signers_one_must_be_named_and_both_be_known() {
    let world = World::new().await;
    let [ann, ben] = ["ann", "ben"].map(|name| Person::new(&world, name));
    ann.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    ben.sign(&image, &[]);
    let policy = SignaturePolicy::require([ann.fingerprint]);
    let error = refusal(&world, &image, policy).await;
    let SignatureError::NotTrusted { signers, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(signers.len(), 2);
    assert_eq!(signers[1].fingerprint, Some(ben.fingerprint));

    ben.is_known_in(&world);
    for named in [ann.fingerprint, ben.fingerprint] {
        let policy = SignaturePolicy::require([named]);
        let image = check(&world, &image, policy).await.unwrap();
        let found = names(image.signatures());
        assert_eq!(found, ["ann <ann@example.org>", "ben <ben@example.org>"]);
    }
    world.finish();
}

#[tokio::test]
async fn who_signed_an_added_object_does_not_vouch_for_the_rest() {
    let world = World::new().await;
    let [ann, ben] = ["ann", "ben"].map(|name| Person::new(&world, name));
    ann.is_known_in(&world);
    ben.is_known_in(&world);
    // Apptainer by itself is content: all is signed, and by known keys.
    let image = ann.signed(&world, "image.sif");
    add_object(&world, &image, Some("2"));
    ben.sign(&image, &["--group-id", "2"]);
    for named in [&ann, &ben] {
        let policy = SignaturePolicy::require([named.fingerprint]);
        let error = refusal(&world, &image, policy).await;
        assert!(
            matches!(error, SignatureError::NotTrusted { .. }),
            "{error:?}"
        );
    }
    for policy in [
        SignaturePolicy::require([ann.fingerprint, ben.fingerprint]),
        SignaturePolicy::require_any_trusted(),
    ] {
        let image = check(&world, &image, policy).await.unwrap();
        assert_eq!(image.signatures().signers().len(), 2);
    }
    world.finish();
}

#[tokio::test]
async fn an_object_that_claims_to_be_a_signature_vouches_for_nothing() {
    /// In the format of Singularity before 3.6, which `apptainer verify` passes over.
    const FORGED: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSIFHASH:\n00\n\
        -----BEGIN PGP SIGNATURE-----\n\naaaa\n-----END PGP SIGNATURE-----\n";
    /// A link to group 1.
    const GROUP: &str = "4026531841";
    let world = World::new().await;
    let [ann, ben] = ["ann", "ben"].map(|name| Person::new(&world, name));
    ann.is_known_in(&world);
    ben.is_known_in(&world);
    let forged = world.folder().join("forged.asc");
    fs::write(&forged, FORGED).unwrap();
    let forge = |image: &Path| {
        let fingerprint = ann.fingerprint.to_string();
        apptainer_of(&ben.home, |command| {
            command
                .args(["sif", "add", "--datatype", "5", "--signhash", "1"])
                .args(["--link", GROUP, "--signentity", &fingerprint])
                .args([image, &forged])
        });
    };
    let by_ben = ben.signed(&world, "ben.sif");
    forge(&by_ben);
    check(&world, &by_ben, SignaturePolicy::require([ben.fingerprint]))
        .await
        .unwrap();
    let policy = SignaturePolicy::require([ann.fingerprint]);
    let error = refusal(&world, &by_ben, policy.clone()).await;
    assert!(
        matches!(error, SignatureError::NotTrusted { .. }),
        "{error:?}"
    );

    let by_nobody = unsigned(&world, "nobody.sif");
    forge(&by_nobody);
    let error = refusal(&world, &by_nobody, policy).await;
    assert!(
        matches!(error, SignatureError::Uncovered { .. }),
        "{error:?}"
    );
    world.finish();
}

#[tokio::test]
async fn a_sandbox_cannot_be_signed() {
    let world = World::new().await;
    let sandbox = world.folder().join("sandbox");
    busybox_sandbox(&sandbox);
    let policy = SignaturePolicy::require_any_trusted();
    let error = refusal(&world, &sandbox, policy).await;
    assert!(matches!(error, SignatureError::Invalid { .. }), "{error:?}");
    world.finish();
}

#[tokio::test]
async fn checking_ends_at_its_limit_and_when_it_is_dropped() {
    let world = World::new().await;
    let ann = Person::new(&world, "ann");
    ann.is_known_in(&world);
    let image = ann.signed(&world, "image.sif");
    let policy = SignaturePolicy::require_any_trusted();
    let asked = || world.client().image(&image).signatures(policy.clone());
    let error = asked().timeout(Duration::ZERO).await.unwrap_err();
    let ImageError::Signature(SignatureError::TimedOut { limit, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(limit, Duration::ZERO);
    for after in 0..20 {
        let _ = tokio::time::timeout(Duration::from_millis(after), asked()).await;
    }
    asked().await.unwrap();
    world.finish();
}

//! What Apptainer lists, as our types read it.

use std::path::{Path, PathBuf};

use apptainer::sys::output::{
    CacheEntry, Grant, InstanceList, ListedKey, ListedPlugin, ListedRegistry, ListedRemote,
    Verification, fields,
};
use apptainer::sys::sif::SifFile;
use apptainer::sys::state::instance::{Records, Writable};
use apptainer::sys::state::{Cache, CacheKind, ConfigDir};
use fixtures::{Login, Registry, World, busybox_archive, busybox_sif};

use crate::{apptainer, apptainer_with};

/// Where Apptainer keeps what these tests change.
struct Home {
    config: PathBuf,
    cache: PathBuf,
}

impl Home {
    fn of(world: &World) -> Self {
        Self {
            config: world.folder().join("config"),
            cache: world.folder().join("cache"),
        }
    }

    fn apptainer(&self, words: &[&str]) -> String {
        let config = ("APPTAINER_CONFIGDIR", self.config.as_path());
        let cache = ("APPTAINER_CACHEDIR", self.cache.as_path());
        apptainer_with(words, &[config, cache])
    }
}

#[tokio::test]
async fn keys_and_what_they_signed() {
    let world = World::new().await;
    let home = Home::of(&world);
    assert_eq!(ListedKey::parse(&home.apptainer(&["key", "list"])), []);
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
    home.apptainer(&[&new_key, &owner[..]].concat());
    for listing in [&["key", "list"][..], &["key", "list", "--secret"]] {
        let keys = ListedKey::parse(&home.apptainer(listing));
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].user, "Alice (tests) <alice@example.org>");
        assert_eq!((keys[0].index, keys[0].bits), (0, 2048));
        assert_eq!(keys[0].fingerprint.len(), 40);
        assert!(keys[0].created.ends_with(" UTC"), "{keys:?}");
    }

    let image = world.folder().join("signed.sif");
    std::fs::copy(busybox_sif(), &image).unwrap();
    let image = image.to_str().unwrap();
    home.apptainer(&["sign", image]);
    let printed = home.apptainer(&["verify", "--local", "--json", image]);
    let verification: Verification = serde_json::from_str(&printed).unwrap();
    assert_eq!(verification.signatures, 1);
    let signers = verification.signer_keys.as_ref().unwrap();
    let objects = SifFile::open(Path::new(image)).unwrap();
    assert_eq!(signers.len(), objects.table().descriptors().len() - 1);
    assert!(
        signers
            .iter()
            .all(|key| key.signer.key_check && key.signer.data_check)
    );
    assert_eq!(
        serde_json::to_value(&verification).unwrap(),
        serde_json::from_str::<serde_json::Value>(&printed).unwrap()
    );
    world.finish();
}

#[tokio::test]
async fn remotes_and_registries() {
    let world = World::new().await;
    let home = Home::of(&world);
    let remotes = ListedRemote::parse(&home.apptainer(&["remote", "list"]));
    assert_eq!(remotes.len(), 1);
    assert!(remotes[0].is_global && remotes[0].is_default && remotes[0].is_secure);
    home.apptainer(&[
        "remote",
        "add",
        "--no-login",
        "--insecure",
        "lab",
        "http://lab.example.org",
    ]);
    let remotes = ListedRemote::parse(&home.apptainer(&["remote", "list"]));
    let lab = remotes.iter().find(|remote| remote.name == "lab").unwrap();
    assert_eq!(lab.uri, "lab.example.org");
    assert!(lab.is_default && !lab.is_global && !lab.is_exclusive && !lab.is_secure);

    assert_eq!(
        ListedRegistry::parse(&home.apptainer(&["registry", "list"])),
        []
    );
    let registry = Registry::start(Login::Required);
    let uri = format!("docker://{}", registry.host());
    home.apptainer(&["registry", "login", "-u", "tester", "-p", "secret", &uri]);
    let registries = ListedRegistry::parse(&home.apptainer(&["registry", "list"]));
    assert_eq!(registries.len(), 1);
    assert_eq!(registries[0].uri, uri);
    world.finish();
}

#[tokio::test]
async fn the_cache() {
    let world = World::new().await;
    let home = Home::of(&world);
    let listing = ["cache", "list", "--verbose"];
    assert_eq!(CacheEntry::parse(&home.apptainer(&listing)), []);
    let registry = Registry::start(Login::None);
    registry.push(&busybox_archive(), "busybox:1");
    let image = world.folder().join("pulled.sif");
    let reference = registry.reference("busybox:1");
    home.apptainer(&["pull", "--no-https", image.to_str().unwrap(), &reference]);
    let entries = CacheEntry::parse(&home.apptainer(&listing));
    let of_kind = |kind: &str| entries.iter().filter(|entry| entry.kind == kind).count();
    assert_eq!((of_kind("oci-tmp"), of_kind("blob")), (1, 3));
    assert!(
        entries.iter().all(|entry| entry.name.len() == 22),
        "{entries:?}"
    );
    assert!(
        entries.iter().all(|entry| entry.size.ends_with("iB")),
        "{entries:?}"
    );
    // Listed by kind and then name, as ours are, but in another order of kinds.
    let mut theirs: Vec<_> = entries
        .iter()
        .map(|entry| (entry.kind.as_str(), entry.name.as_str()))
        .collect();
    theirs.sort_unstable();
    let files = Cache::at(home.cache.join("cache")).files().unwrap();
    let ours: Vec<_> = files
        .iter()
        .map(|file| (file.kind.name(), &file.name[..22]))
        .collect();
    assert_eq!(ours, theirs);
    let sif = files.iter().find(|file| file.kind == CacheKind::OciTmp);
    let pulled = std::fs::metadata(&image).unwrap();
    assert_eq!(sif.unwrap().size, pulled.len());
    world.finish();
}

#[tokio::test]
async fn how_an_instance_was_made() {
    let world = World::new().await;
    let container = world.container().await;
    let folder = world.folder();
    let instance = container
        .bind_read_only(folder, "/data")
        .env("GREETING", "hello, world")
        .flags(|flags| {
            flags.containall(true).hostname("inside").uts(true);
        })
        .start()
        .await
        .unwrap();
    let config = ConfigDir::at(Home::of(&world).config);
    let records = Records::of(&config).unwrap();
    let record = records.read(instance.name()).unwrap().unwrap();
    assert!(record.is_running().unwrap());
    assert!(record.has_user_namespace);

    let made = record.config().unwrap();
    let bound = &made.binds[0];
    assert_eq!(
        (bound.source.as_path(), bound.destination.as_path()),
        (folder, Path::new("/data"))
    );
    assert!(bound.options.contains_key("ro"));
    assert_eq!(made.hostname.as_deref(), Some("inside"));
    assert_eq!(made.args, ["/.singularity.d/actions/start"]);
    assert!(made.no_new_privileges && !made.fakeroot);
    assert_eq!(made.writable, Writable::Nothing);
    assert_eq!(made.uid_mappings[0].container, made.uid_mappings[0].host);
    let pid = made
        .namespaces
        .iter()
        .find(|namespace| namespace.kind == "pid");
    let path = format!("/proc/{}/ns/pid", record.pid);
    assert_eq!(pid.unwrap().path, Path::new(&path));
    let name = format!("APPTAINER_INSTANCE={}", instance.name());
    assert!(made.process_env.contains(&name));

    instance.stop().await.unwrap();
    assert!(!record.is_running().unwrap());
    world.finish();
}

#[tokio::test]
async fn instances() {
    let world = World::new().await;
    let home = Home::of(&world);
    let instance = world.container().await.start().await.unwrap();
    let printed = home.apptainer(&["instance", "list", "--json"]);
    let list: InstanceList = serde_json::from_str(&printed).unwrap();
    assert_eq!(list.instances.len(), 1);
    assert_eq!(list.instances[0].instance, instance.name());
    assert_eq!(list.instances[0].pid, instance.pid());
    let ours = world.client().instances().await.unwrap();
    assert_eq!(ours[0].image, list.instances[0].img);
    assert_eq!(ours[0].stderr, list.instances[0].stderr);
    assert_eq!(
        serde_json::to_value(&list).unwrap(),
        serde_json::from_str::<serde_json::Value>(&printed).unwrap()
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn headers_and_objects_of_a_sif_file() {
    let world = World::new().await;
    let image = busybox_sif();
    let path = image.to_str().unwrap();
    let sif = SifFile::open(&image).unwrap();
    let value = |text: &str, name: &str| {
        let fields = fields(text);
        let found = fields.iter().find(|(found, _)| *found == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let printed = apptainer(&["sif", "header", path]);
    let header = sif.table().header();
    assert_eq!(
        value(&printed, "Primary Architecture"),
        Some(header.arch.to_string())
    );
    assert_eq!(
        value(&printed, "Data Offset"),
        Some(header.data_offset.to_string())
    );
    assert_eq!(
        value(&printed, "Descriptors Free"),
        Some(header.descriptors_free.to_string())
    );
    for object in sif.table().descriptors() {
        let printed = apptainer(&["sif", "info", &object.id.to_string(), path]);
        assert_eq!(value(&printed, "ID"), Some(object.id.to_string()));
        assert_eq!(value(&printed, "Size"), Some(object.size.to_string()));
        assert_eq!(value(&printed, "Data Type"), Some(object.kind.to_string()));
        assert_eq!(value(&printed, "Name").unwrap_or_default(), object.name);
    }
    world.finish();
}

/// What has nothing in it here, and says so in its own way.
#[tokio::test]
async fn plugins_and_grants() {
    let world = World::new().await;
    assert_eq!(ListedPlugin::parse(&apptainer(&["plugin", "list"])), []);
    let refused = std::process::Command::new("apptainer")
        .args(["capability", "list"])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.success(), !Grant::parse(&printed).is_empty());
    world.finish();
}

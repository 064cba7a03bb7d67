//! Several users on one store. They are programs of their own, which root starts.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use apptainer::Apptainer;
use apptainer::image::{ImageError, PullPolicy};
use fixtures::{Login, Registry, busybox_archive};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

const FOLDER: &str = "APPTAINER_TESTS_FOLDER";
const STORE: &str = "APPTAINER_TESTS_STORE";
const SHARED: &str = "APPTAINER_TESTS_SHARED";
const TRUSTED: &str = "APPTAINER_TESTS_TRUSTED";
const REFERENCE: &str = "APPTAINER_TESTS_REFERENCE";
const ROLE: &str = "APPTAINER_TESTS_ROLE";

/// The names of two users who are on every machine that the tests run on as root.
const NAMES: [&str; 2] = ["apptainer-test", "nobody"];

/// Not a test: what one of the users does. It says in a line how that went.
#[tokio::test]
#[ignore = "run by other tests, as another user's program"]
async fn user() {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let variable = |name| env::var_os(name).map(PathBuf::from);
    let mut builder = Apptainer::builder()
        .config_dir(variable(FOLDER).unwrap().join("config"))
        .store_dir(variable(STORE).unwrap());
    if let Some(shared) = variable(SHARED) {
        builder = builder.shared_store(shared);
    }
    if let Ok(trusted) = env::var(TRUSTED) {
        builder = builder.trust_user(trusted.parse().unwrap());
    }
    let client = builder.build().await.unwrap();
    let done = match &*role {
        "get" => get(&client).await,
        "remove" => remove(&client).await,
        other => panic!("{other}"),
    };
    match done {
        Ok(said) => println!("\nsaid {said}"),
        Err(error) => println!("\nsaid {}: {error}", name_of(&error)),
    }
}

async fn get(client: &Apptainer) -> Result<String, ImageError> {
    let image = client
        .image(env::var(REFERENCE).unwrap())
        .policy(PullPolicy::IfMissing)
        .no_https()
        .await?;
    let container = image.container();
    let output = container.command("echo").arg("hello").output().await;
    assert_eq!(&output.unwrap().stdout[..], b"hello\n");
    Ok(image.sif().unwrap().display().to_string())
}

async fn remove(client: &Apptainer) -> Result<String, ImageError> {
    let store = client.store();
    let images = store.list().await?;
    let shared = images.iter().find(|image| image.is_shared);
    let image = shared.or(images.first()).expect("there is one");
    store.remove(image).await?;
    Ok("removed".to_owned())
}

fn name_of(error: &ImageError) -> &'static str {
    match error {
        ImageError::Untrusted { .. } => "Untrusted",
        ImageError::ReadOnlyStore { .. } => "ReadOnlyStore",
        ImageError::Store { .. } => "Store",
        _ => "another error",
    }
}

/// What several users share, and a folder for each.
struct Place {
    folder: TempDir,
    registry: Registry,
    users: [User; 2],
}

impl Place {
    /// `None`, and says so, where this is not root, who alone can be others.
    fn new() -> Option<Self> {
        if !Uid::effective().is_root() {
            eprintln!("not tested: it takes root to be several users");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o755);
        let registry = Registry::start(Login::None);
        registry.push(&busybox_archive(), "busybox:1");
        let users = NAMES.map(|name| User::from_name(name).unwrap().expect("it is there"));
        let place = Self {
            folder,
            registry,
            users,
        };
        for user in &place.users {
            let home = place.home(user);
            fs::create_dir(&home).unwrap();
            chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        Some(place)
    }

    fn home(&self, user: &User) -> PathBuf {
        self.folder.path().join(&user.name)
    }

    /// A directory that belongs to root and has this mode.
    fn common(&self, mode: u32) -> PathBuf {
        let path = self.folder.path().join(format!("common-{mode:o}"));
        fs::create_dir_all(&path).unwrap();
        chmod(&path, mode);
        path
    }

    /// A program of that user's.
    fn program(&self, user: &User, role: &str, store: &Path) -> Command {
        let home = self.home(user);
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["store_users::user", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, &home)
            .env(STORE, store)
            .env(ROLE, role)
            .env(REFERENCE, self.registry.reference("busybox:1"))
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("USER", &user.name)
            .env_remove("XDG_RUNTIME_DIR")
            .env_remove("XDG_CACHE_HOME")
            .current_dir(&home)
            .uid(user.uid.as_raw())
            .gid(user.gid.as_raw());
        command
    }

    fn blobs(&self) -> usize {
        self.registry.requests("/blobs/sha256")
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// What a program says.
fn said(mut program: Command) -> String {
    let output = program.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().find_map(|line| line.strip_prefix("said "));
    line.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
fn of_two_users_each_takes_only_what_the_other_is_trusted_with() {
    let Some(place) = Place::new() else { return };
    let [first, second] = &place.users;
    let common = place.common(0o1777);
    let sif = said(place.program(first, "get", &common));
    let its_own = common.join(first.uid.to_string());
    assert!(sif.starts_with(its_own.to_str().unwrap()), "{sif}");
    let fetched = place.blobs();

    // Trusted, nothing is fetched.
    let mut trusting = place.program(second, "get", &common);
    trusting.env(TRUSTED, first.uid.to_string());
    assert_eq!(said(trusting), sif);
    assert_eq!(place.blobs(), fetched);
    // Nor is anything taken away.
    let mut removing = place.program(second, "remove", &common);
    removing.env(TRUSTED, first.uid.to_string());
    let refused = said(removing);
    assert!(refused.starts_with("ReadOnlyStore"), "{refused}");

    // Otherwise each has its own.
    let other = said(place.program(second, "get", &common));
    let its_own = common.join(second.uid.to_string());
    assert!(other.starts_with(its_own.to_str().unwrap()), "{other}");
    assert!(place.blobs() > fetched);
}

#[test]
fn what_one_user_has_no_other_can_write_replace_or_remove() {
    let Some(place) = Place::new() else { return };
    let [first, second] = &place.users;
    let common = place.common(0o1777);
    let sif = said(place.program(first, "get", &common));
    let entry = Path::new(&sif).parent().unwrap();
    let store = common.join(first.uid.to_string());
    let script = "echo > \"$1/image.sif\" && exit 1
        echo > \"$1/entry.json\" && exit 1
        chmod u+w \"$1/image.sif\" && exit 1
        rm -f \"$1/image.sif\" && exit 1
        touch \"$1/pinned\" && exit 1
        mv \"$1\" \"$1-other\" && exit 1
        mv \"$0\" \"$0-other\" && exit 1
        for folder in names images blobs locks work; do
            touch \"$0/v1/$folder/file\" && exit 1
        done
        exit 0";
    let mut attack = Command::new("sh");
    attack.args(["-c", script]).arg(&store).arg(entry);
    attack.uid(second.uid.as_raw()).gid(second.gid.as_raw());
    let output = attack.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let refused = String::from_utf8_lossy(&output.stderr);
    assert!(refused.lines().count() >= 12, "{refused}");
    let fetched = place.blobs();
    assert_eq!(said(place.program(first, "get", &common)), sif);
    assert_eq!(place.blobs(), fetched);
}

#[test]
fn what_is_planted_in_the_place_of_a_users_store_is_refused() {
    let Some(place) = Place::new() else { return };
    let [first, second] = &place.users;
    let common = place.common(0o1777);
    let place_of_first = common.join(first.uid.to_string());
    let [uid, gid] = [second.uid.as_raw(), second.gid.as_raw()].map(Some);
    let target = place.home(second).join("target");
    let plants: [&dyn Fn(); 4] = [
        &|| fs::create_dir(&place_of_first).unwrap(),
        &|| symlink(place.home(first), &place_of_first).unwrap(),
        &|| symlink(&target, &place_of_first).unwrap(),
        &|| drop(File::create(&place_of_first).unwrap()),
    ];
    for plant in plants {
        plant();
        std::os::unix::fs::lchown(&place_of_first, uid, gid).unwrap();
        let refused = said(place.program(first, "get", &common));
        assert!(refused.starts_with("Untrusted"), "{refused}");
        // Nor is it looked through by who trusts.
        let mut trusting = place.program(second, "get", &common);
        trusting.env(TRUSTED, first.uid.to_string());
        let other = said(trusting);
        assert!(!other.starts_with(place_of_first.to_str().unwrap()));
        let _ = fs::remove_dir(&place_of_first).or_else(|_| fs::remove_file(&place_of_first));
    }
    assert!(!target.exists());
}

#[test]
fn what_root_has_is_there_for_all_and_nobody_takes_it_away() {
    let Some(place) = Place::new() else { return };
    let [first, second] = &place.users;
    let shared = place.folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    // Whose the store is matters, not that it is root's: it is filled by a user, and given away.
    chown(&shared, Some(first.uid.as_raw()), Some(first.gid.as_raw())).unwrap();
    said(place.program(first, "get", &shared));
    let given = Command::new("chown")
        .args(["-R", "root:root"])
        .arg(&shared)
        .status();
    assert!(given.unwrap().success());
    let requests = place.registry.requests("/v2/");
    for user in [first, second] {
        let own = place.home(user).join("store");
        let mut using = place.program(user, "get", &own);
        using.env(SHARED, &shared);
        let sif = said(using);
        assert!(sif.starts_with(shared.to_str().unwrap()), "{sif}");
        let mut removing = place.program(user, "remove", &own);
        removing.env(SHARED, &shared);
        let refused = said(removing);
        assert!(refused.starts_with("ReadOnlyStore"), "{refused}");
    }
    assert_eq!(place.registry.requests("/v2/"), requests);
}

#[test]
fn a_store_that_many_may_write_to_without_the_sticky_bit_is_refused() {
    let Some(place) = Place::new() else { return };
    for mode in [0o777, 0o775] {
        let common = place.common(mode);
        chown(&common, Some(0), Some(place.users[0].gid.as_raw())).unwrap();
        for user in &place.users {
            let refused = said(place.program(user, "get", &common));
            assert!(refused.starts_with("Untrusted"), "{mode:o}: {refused}");
        }
    }
}

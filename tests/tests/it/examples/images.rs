//! `images`, as somebody uses it.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use apptainer::sys::process::{Pid, PidFd, Signal};
use fixtures::{Login, Registry, World, builds_images, busybox_archive, busybox_sif};

use super::{AtTerminal, ended, example, in_session};

/// A registry with busybox in it, and a store.
struct Place {
    world: World,
    registry: Registry,
    busybox: String,
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let registry = Registry::start(Login::None);
        registry.push(&busybox_archive(), "busybox:1");
        let busybox = registry.reference("busybox:1");
        Self {
            world,
            registry,
            busybox,
        }
    }

    fn images(&self, arguments: &[&str]) -> Command {
        let mut images = example("images");
        images.args(arguments).current_dir(self.world.folder());
        images.arg("--store").arg(self.world.client().store_dir());
        images.args(["--http-registry", self.registry.host()]);
        images
    }

    /// What it prints, and what it says meanwhile.
    fn run(&self, arguments: &[&str]) -> (String, String) {
        let output = self.images(arguments).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(String::from_utf8);
        let (stdout, stderr) = (stdout.unwrap(), stderr.unwrap());
        assert!(output.status.success(), "{arguments:?}: {stdout}{stderr}");
        (stdout, stderr)
    }

    fn prints(&self, arguments: &[&str]) -> String {
        self.run(arguments).0
    }

    /// The one line by which it says what is wrong, and what it says before.
    fn fails(&self, arguments: &[&str]) -> (String, String) {
        let output = self.images(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        let begin = stderr.find("images: ").unwrap();
        let (before, error) = stderr.split_at(begin);
        assert_eq!(error.lines().count(), 1, "{error}");
        (error.to_owned(), before.to_owned())
    }

    /// The columns of what is listed as this, each form by itself.
    fn listed(&self, reference: &str) -> Vec<String> {
        let list = self.prints(&["list"]);
        let named = list.lines().filter(|line| line.contains(reference));
        named.map(str::to_owned).collect()
    }

    /// That of the SIF file: where such cannot be run, what was extracted is listed too.
    fn sif(&self, reference: &str) -> String {
        let listed = self.listed(reference);
        let sif = listed.into_iter().find(|line| line.contains(" SIF "));
        sif.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.world.folder().join(name)
    }
}

#[tokio::test]
async fn what_is_pulled_is_listed_kept_and_cleared_up() {
    let place = Place::new().await;
    let busybox = place.busybox.as_str();
    let (path, said) = place.run(&["pull", busybox]);
    assert!(Path::new(path.trim_end()).exists(), "{path:?}");
    assert!(said.contains(&format!("{busybox}: fetching\n")), "{said}");
    assert!(!said.contains('\u{1b}'), "{said:?} is for no terminal");
    assert_eq!(place.run(&["pull", busybox]), (path, String::new()));

    let digest = place.registry.digest("busybox:1");
    let count = place.listed(busybox).len();
    let listed = place.sif(busybox);
    assert!(listed.contains(&digest[7..19]), "{listed}");
    let id = listed.split_whitespace().next().unwrap().to_owned();
    for name in [busybox, &id, &digest] {
        let inspected = place.prints(&["inspect", name]);
        assert!(inspected.contains(&digest), "{name}: {inspected}");
    }
    let usage = place.prints(&["usage"]);
    assert!(!usage.contains("SIF files             0 B"), "{usage}");
    assert_eq!(place.prints(&["verify"]), "");

    place.prints(&["pin", busybox]);
    assert!(place.sif(busybox).ends_with("pinned"));
    let prune = ["prune", "--unused-for", "0s"];
    assert_eq!(place.prints(&prune), "freed 0 B\n");
    place.prints(&["unpin", &id]);
    let pruned = place.prints(&["prune", "--keep", "0", "--dry-run"]);
    assert!(pruned.contains(&format!("would remove {id}")), "{pruned}");
    assert_eq!(place.listed(busybox).len(), count);
    let pruned = place.prints(&prune);
    assert!(pruned.contains(&format!("removed {id} {busybox} (SIF)")));
    assert!(place.listed(busybox).is_empty());
    place.world.finish();
}

#[tokio::test]
async fn images_of_one_name_are_told_apart() {
    let place = Place::new().await;
    let busybox = place.busybox.as_str();
    place.prints(&["pull", busybox]);
    place.prints(&["pull", busybox, "--compression", "zstd:1"]);
    let inspected = place.prints(&["inspect", busybox]);
    assert!(inspected.contains("zstd:1"), "{inspected}");
    let id = |is_wanted: &dyn Fn(&str) -> bool| {
        let paragraphs = inspected.split("reference ");
        let wanted = paragraphs.skip(1).find(|text| is_wanted(text)).unwrap();
        let line = wanted.lines().find(|line| line.starts_with("id ")).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    let plain = id(&|text| !text.contains("zstd"));
    let zstd = id(&|text| text.contains("zstd"));
    assert_ne!(plain, zstd);
    place.prints(&["remove", &zstd[..12]]);
    let left = place.prints(&["inspect", busybox]);
    assert!(left.contains(&plain) && !left.contains(&zstd), "{left}");
    // An image of its own, though the registry has one for all.
    place.prints(&["remove", busybox]);
    let (error, _) = place.fails(&["inspect", busybox]);
    assert!(error.contains("`images pull` it"), "{error}");
    place.world.finish();
}

#[tokio::test]
async fn what_is_in_use_is_not_removed() {
    let place = Place::new().await;
    let image = place.world.client().image(&place.busybox).no_https();
    let image = image.await.unwrap();
    assert!(place.sif(&place.busybox).ends_with("in use"));
    let (error, _) = place.fails(&["remove", &place.busybox]);
    assert!(error.contains("stop what runs in it first"), "{error}");
    let pruned = place.prints(&["prune", "--older-than", "0s"]);
    assert!(pruned.starts_with("in use: "), "{pruned}");
    drop(image);
    place.prints(&["remove", &place.busybox]);
    place.world.finish();
}

#[tokio::test]
async fn what_is_built_is_built_once() {
    let place = Place::new().await;
    if !builds_images() {
        return;
    }
    let base = busybox_sif();
    let definition = "Bootstrap: localimage\nFrom: BASE\n%post\necho {{ word }} > /word\n";
    let definition = definition.replace("BASE", base.to_str().unwrap());
    fs::write(place.file("word.def"), definition).unwrap();
    let build = ["build", "word.def", "--arg", "word=hello"];
    let (path, said) = place.run(&build);
    assert!(said.contains("word.def: building\n"), "{said}");
    assert_eq!(place.prints(&build), path);
    assert_ne!(place.prints(&[&build[..], &["--rebuild"]].concat()), path);
    assert!(place.prints(&["inspect", "word.def"]).contains("word.def"));

    fs::write(place.file("a file"), "copied").unwrap();
    let script = ["--post", "cat /a > /b"];
    let from = [
        "build",
        "--from",
        base.to_str().unwrap(),
        "--copy",
        "a file:/a",
    ];
    let path = place.prints(&[&from[..], &script].concat());
    let mut exec = example("exec");
    if nix::unistd::geteuid().is_root() {
        exec.arg("--no-privs");
    }
    let read = exec.args([path.trim_end(), "cat", "/b"]).output().unwrap();
    assert_eq!(read.stdout, b"copied", "{read:?}");

    let script = ["--post", "echo on its way; exit 3"];
    let (error, before) = place.fails(&[&from[..], &script].concat());
    assert!(error.contains("exit status 3"), "{error}");
    assert!(before.contains("  on its way\n"), "{before}");
    place.world.finish();
}

#[tokio::test]
async fn what_is_kept_is_exported() {
    let place = Place::new().await;
    let busybox = place.busybox.as_str();
    place.prints(&["pull", busybox]);
    assert_eq!(place.prints(&["export", busybox, "a.sif"]), "a.sif\n");
    assert!(place.file("a.sif").metadata().unwrap().len() > 0);
    let (error, _) = place.fails(&["export", busybox, "a.sif"]);
    assert!(error.contains("or overwrite it"), "{error}");
    place.prints(&["export", busybox, "a.sif", "--overwrite"]);
    let layout = place.prints(&["export", busybox, "oci:layout"]);
    assert!(layout.starts_with("1 sha256:"), "{layout}");
    assert!(place.file("layout/index.json").exists());
    let archive = place.prints(&["export", busybox, "oci-archive:a.tar:two"]);
    assert_eq!(archive.replace("two", "1"), layout);
    assert!(place.file("a.tar").exists());

    let pushed = format!("oras://{}/pushed:1", place.registry.host());
    assert_eq!(
        place.prints(&["export", busybox, &pushed]),
        format!("{pushed}\n")
    );
    place.prints(&["pull", &pushed, "--policy", "always"]);
    assert!(!place.listed(&pushed).is_empty());
    let (error, _) = place.fails(&["pull", &pushed, "--require-signature", "any"]);
    assert!(error.contains("sign it with `apptainer sign`"), "{error}");
    place.world.finish();
}

#[tokio::test]
async fn what_is_wrong_is_said_in_one_line() {
    let place = Place::new().await;
    let busybox = place.busybox.as_str();
    let unknown = place.registry.reference("nosuch:1");
    let (error, _) = place.fails(&["pull", &unknown]);
    assert!(error.contains("it has no such image"), "{error}");
    let offline = ["pull", busybox, "--policy", "never", "--platform", "arm64"];
    let (error, _) = place.fails(&offline);
    assert!(
        error.contains("for linux/arm64: it is not in the store"),
        "{error}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    let reference = format!("docker://{host}/a:1");
    let (error, _) = place.fails(&["pull", &reference, "--http-registry", &host]);
    assert!(
        error.contains("whether it can be reached from here"),
        "{error}"
    );

    let path = place.prints(&["pull", busybox]);
    let inspected = place.prints(&["inspect", busybox]);
    let sif = inspected.lines().find(|line| line.ends_with("image.sif"));
    let sif = sif.unwrap().split_whitespace().last().unwrap();
    fs::set_permissions(sif, Permissions::from_mode(0o755)).unwrap();
    let mut bytes = fs::read(sif).unwrap();
    let last = bytes.last_mut().unwrap();
    *last = !*last;
    fs::write(sif, bytes).unwrap();
    let (error, _) = place.fails(&["verify"]);
    assert!(error.contains("1 damaged"), "{path}: {error}");
    place.world.finish();
}

#[tokio::test]
async fn ctrl_c_in_a_pull_leaves_nothing_and_others_wait_for_it_till_then() {
    let place = Place::new().await;
    // Larger than any manifest, smaller than the layer.
    let host = stalling(place.registry.host(), 100_000);
    let reference = format!("docker://{host}/busybox:1");
    let pull = || place.images(&["pull", &reference, "--http-registry", &host]);
    let mut at = AtTerminal::spawn(&mut in_session(&pull()));
    at.until_shown("=>").await;

    let mut other = pull()
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(other.stderr.take().unwrap()).lines();
    let waits = lines
        .map_while(Result::ok)
        .find(|line| line.contains("waiting for process"));
    assert!(waits.unwrap().starts_with(&reference));
    let pid = Pid::try_from(other.id()).unwrap();
    PidFd::open(pid).unwrap().signal(Signal::TERM).unwrap();
    let status = ended(&mut other).await;
    assert_eq!(status.signal(), Some(Signal::TERM.number()));

    at.type_in("\u{3}");
    let status = ended(&mut at.example).await;
    assert_eq!(status.signal(), Some(Signal::INT.number()));
    assert!(place.listed(&reference).is_empty());
    place.world.finish();
}

/// A proxy before a registry, which sends so many bytes of an answer and then no more.
fn stalling(registry: &str, most: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let registry = registry.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let registry = registry.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let lines = BufReader::new(client.try_clone()?).lines();
                let head =
                    lines.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty()));
                let head: Vec<String> = head.collect::<Result<_, _>>()?;
                let mut server = TcpStream::connect(&registry)?;
                let head = head.join("\r\n");
                write!(server, "{head}\r\nConnection: close\r\n\r\n")?;
                let sent = std::io::copy(&mut server.take(most), &mut &client)?;
                if sent == most {
                    // Until the other side has had enough.
                    std::io::copy(&mut &client, &mut std::io::sink())?;
                }
                client.shutdown(std::net::Shutdown::Both)
            });
        }
    });
    host
}

//! A real OCI registry on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Whom a registry lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Everybody.
    None,
    /// The user `tester` with the password `secret`.
    Required,
}

/// `docker-registry`, on a port that the kernel chose. It ends when this is
/// dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct Registry {
    server: Child,
    host: String,
    log: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

/// `tester:secret`, as bcrypt.
const PASSWORDS: &str = "tester:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// How the paths begin of requests that are made only to be found in the log.
const MARK: &str = "/v2/?mark=";

impl Registry {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(login: Login) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let config = folder.path().join("config.yml");
        fs::write(&config, configuration(folder.path(), login)).expect("it is writable");
        // Kills the server when this thread ends, however it ends.
        let mut server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed: scripts/setup does that");
        let stderr = server.stderr.take().expect("it is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (found, port) = std::sync::mpsc::channel();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(host) = listening_at(&line) {
                    let _ = found.send(host);
                }
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
        let host = port
            .recv_timeout(Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("the registry started: {log:?}"));
        Self {
            server,
            host,
            log,
            _folder: folder,
        }
    }

    /// Its host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A `docker://` reference to an image in it.
    pub fn reference(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.host)
    }

    /// Puts a tar file of a root file system into it as an image of one layer.
    ///
    /// # Panics
    ///
    /// When `skopeo` fails.
    pub fn push(&self, root: &Path, image: &str) {
        self.push_layers(&[root], image);
    }

    /// Puts tar files into it as an image with a layer of each.
    ///
    /// # Panics
    ///
    /// When `skopeo` fails.
    pub fn push_layers(&self, layers: &[impl AsRef<Path>], image: &str) {
        let layers = layers.iter().map(|layer| layer.as_ref().to_string_lossy());
        let layers: Vec<_> = layers.collect();
        let pushed = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false"])
            .args(["--dest-creds", "tester:secret"])
            .arg(format!("tarball:{}", layers.join(":")))
            .arg(self.reference(image))
            .output()
            .expect("skopeo is installed: scripts/setup does that");
        let stderr = String::from_utf8_lossy(&pushed.stderr);
        assert!(pushed.status.success(), "skopeo: {stderr}");
    }

    /// The digest of an image in it.
    ///
    /// # Panics
    ///
    /// When `skopeo` fails.
    pub fn digest(&self, image: &str) -> String {
        let inspected = Command::new("skopeo")
            .args(["inspect", "--tls-verify=false"])
            .args(["--creds", "tester:secret", "--format", "{{.Digest}}"])
            .arg(self.reference(image))
            .output()
            .expect("skopeo is installed: scripts/setup does that");
        let stderr = String::from_utf8_lossy(&inspected.stderr);
        assert!(inspected.status.success(), "skopeo: {stderr}");
        let digest = String::from_utf8_lossy(&inspected.stdout);
        digest.trim().to_owned()
    }

    /// How many of its requests' log lines hold `text`.
    ///
    /// # Panics
    ///
    /// When its reader has panicked.
    pub fn requests(&self, text: &str) -> usize {
        let log = self.log.lock().expect("nobody panics with it");
        log.iter().filter(|line| line.contains(text)).count()
    }

    /// How many requests with a method it has answered whose path begins so.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn answered(&self, method: &str, path: &str) -> usize {
        self.settle();
        let log = self.log.lock().expect("nobody panics with it");
        let answers = log.iter().filter_map(|line| answer(line));
        answers
            .filter(|answer| answer.0 == method && answer.1.starts_with(path))
            .filter(|answer| !answer.1.starts_with(MARK))
            .count()
    }

    /// Waits until its log has what it has answered: a request of our own stands in it then.
    fn settle(&self) {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let mark = format!("{MARK}{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut stream = TcpStream::connect(&self.host).expect("it listens");
        let request = format!("GET {mark} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host);
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.read_to_end(&mut Vec::new()).expect("it answers");
        let deadline = Instant::now() + Duration::from_secs(20);
        let is_logged = || {
            let log = self.log.lock().expect("nobody panics with it");
            log.iter()
                .filter_map(|line| answer(line))
                .any(|answer| answer.1 == mark)
        };
        while !is_logged() {
            assert!(Instant::now() < deadline, "its log has no line of {mark}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The method and the path of the request that a line of the log tells of.
fn answer(line: &str) -> Option<(&str, &str)> {
    if !line.contains("msg=\"response completed") {
        return None;
    }
    let field = |name: &str| {
        let (_, value) = line.split_once(name)?;
        // Quoted where it has other characters than a plain path has.
        match value.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next(),
            None => value.split(' ').next(),
        }
    };
    Some((field("http.request.method=")?, field("http.request.uri=")?))
}

fn configuration(folder: &Path, login: Login) -> String {
    let folder = folder.display();
    let passwords = format!("{folder}/passwords");
    fs::write(&passwords, PASSWORDS).expect("it is writable");
    let auth = match login {
        Login::None => String::new(),
        Login::Required => format!("auth: {{htpasswd: {{realm: tests, path: '{passwords}'}}}}\n"),
    };
    format!(
        "version: 0.1\n\
         log: {{level: info}}\n\
         storage: {{filesystem: {{rootdirectory: '{folder}/data'}}}}\n\
         http: {{addr: '127.0.0.1:0', secret: tests}}\n{auth}"
    )
}

fn listening_at(line: &str) -> Option<String> {
    let (_, after) = line.split_once("listening on ")?;
    let host = after.split(['"', ',', ' ']).next()?;
    Some(host.to_owned())
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

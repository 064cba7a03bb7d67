//! A real OCI registry on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::Authority;

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
    /// A line for each request that has been answered.
    accesses: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

/// `tester:secret`, as bcrypt.
const PASSWORDS: &str = "tester:$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Registry {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(login: Login) -> Self {
        Self::start_with(login, None)
    }

    /// Starts one that speaks TLS, with a certificate of this authority.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start_encrypted(authority: &Authority) -> Self {
        Self::start_with(Login::None, Some(authority))
    }

    fn start_with(login: Login, authority: Option<&Authority>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let config = folder.path().join("config.yml");
        let text = configuration(folder.path(), login, authority);
        fs::write(&config, text).expect("it is writable");
        // Kills the server when this thread ends, however it ends.
        let mut server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "docker-registry", "serve"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is installed: scripts/setup does that");
        let accesses = Arc::new(Mutex::new(Vec::new()));
        let stdout = server.stdout.take().expect("it is piped");
        let lines = Arc::clone(&accesses);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
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
            .recv_timeout(std::time::Duration::from_secs(20))
            .unwrap_or_else(|_| panic!("the registry started: {log:?}"));
        Self {
            server,
            host,
            accesses,
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

    /// Puts an index into it, of images that are there, each for an architecture.
    ///
    /// # Panics
    ///
    /// When it does not take that.
    pub fn push_index(&self, repository: &str, tag: &str, images: &[(&str, &str)]) {
        let entry = |&(architecture, tag): &(&str, &str)| {
            let digest = self.digest(&format!("{repository}:{tag}"));
            let answer = self.ask(&format!("HEAD /v2/{repository}/manifests/{digest}"), "", "");
            let size = answer
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "));
            let size: u64 = size
                .and_then(|size| size.parse().ok())
                .expect("it is there");
            serde_json::json!({
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": size,
                "platform": { "os": "linux", "architecture": architecture },
            })
        };
        let index = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": images.iter().map(entry).collect::<Vec<_>>(),
        });
        let put = format!("PUT /v2/{repository}/manifests/{tag}");
        let answer = self.ask(&put, OCI_INDEX, &index.to_string());
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// What it answers by HTTP.
    fn ask(&self, what: &str, content_type: &str, body: &str) -> String {
        let length = body.len();
        let mut stream = TcpStream::connect(&self.host).expect("it listens");
        let ask = write!(
            stream,
            "{what} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAccept: {OCI_MANIFEST}\r\n\
             Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.host
        );
        ask.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
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

    /// How many of the requests that it has answered are as `text`, such as
    /// `GET /v2/busybox/manifests/1 `, in the lines of its access log.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub fn requests(&self, text: &str) -> usize {
        static MARKS: AtomicUsize = AtomicUsize::new(0);
        // What was answered before this is in the log once this is.
        let mark = format!("/v2/?mark={}", MARKS.fetch_add(1, Ordering::Relaxed));
        let asked = TcpStream::connect(&self.host).and_then(|mut server| {
            write!(
                server,
                "GET {mark} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                self.host
            )?;
            std::io::copy(&mut server, &mut std::io::sink())
        });
        asked.expect("it answers");
        loop {
            let accesses = self.accesses.lock().expect("nobody panics with it");
            if accesses.iter().any(|line| line.contains(&mark)) {
                let is_asked = |line: &&String| line.contains(text) && !line.contains("?mark=");
                return accesses.iter().filter(is_asked).count();
            }
            drop(accesses);
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn configuration(folder: &Path, login: Login, authority: Option<&Authority>) -> String {
    let folder = folder.display();
    let passwords = format!("{folder}/passwords");
    fs::write(&passwords, PASSWORDS).expect("it is writable");
    let auth = match login {
        Login::None => String::new(),
        Login::Required => format!("auth: {{htpasswd: {{realm: tests, path: '{passwords}'}}}}\n"),
    };
    let tls = authority.map_or_else(String::new, |authority| {
        let certificate = authority.server_certificate();
        let key = authority.server_key();
        let (certificate, key) = (certificate.display(), key.display());
        format!(", tls: {{certificate: '{certificate}', key: '{key}'}}")
    });
    format!(
        "version: 0.1\n\
         log: {{level: info}}\n\
         storage: {{filesystem: {{rootdirectory: '{folder}/data'}}}}\n\
         http: {{addr: '127.0.0.1:0', secret: tests{tls}}}\n{auth}"
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

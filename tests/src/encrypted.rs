//! A server that is spoken to by TLS.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Authority;

/// `openssl s_server` on loopback, which always gives the same answer to the same `GET`.
///
/// It ends when this is dropped, and when the thread that started it ends.
#[derive(Debug)]
pub struct EncryptedServer {
    server: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl EncryptedServer {
    /// Starts one on a port that the kernel chooses, with a certificate of this authority. An
    /// answer is a path and all that is sent for it, headers and body.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(authority: &Authority, answers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        for (path, answer) in answers {
            let path = folder.path().join(path.trim_start_matches('/'));
            let parent = path.parent().expect("it lies in the folder");
            fs::create_dir_all(parent).expect("it is writable");
            fs::write(&path, answer).expect("it is writable");
        }
        let mut server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "openssl", "s_server"])
            .args(["-HTTP", "-accept", "127.0.0.1:0", "-cert"])
            .arg(authority.server_certificate())
            .arg("-key")
            .arg(authority.server_key())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: scripts/setup does that");
        let stdout = server.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let host = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
        let host = host.expect("it says where it listens");
        // It says more, and must not wait until somebody has read that.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            server,
            host,
            _folder: folder,
        }
    }

    /// Its host and port.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl Drop for EncryptedServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

//! A certificate authority of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority that nobody knows, and a certificate of it for 127.0.0.1.
#[derive(Debug)]
pub struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    /// Makes both.
    ///
    /// # Panics
    ///
    /// When `openssl` fails.
    pub fn new() -> Self {
        const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        fs::write(folder.path().join("extensions"), extensions).expect("it is writable");
        let steps = [
            format!("req -x509 {NEW_KEY} -subj /CN=tests -days 2 -keyout ca.key -out ca.crt"),
            format!("req {NEW_KEY} -subj /CN=127.0.0.1 -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
             -extfile extensions -out server.crt"
                .to_owned(),
        ];
        for step in steps {
            let made = Command::new("openssl")
                .args(step.split_whitespace())
                .current_dir(folder.path())
                .output()
                .expect("openssl is installed: scripts/setup does that");
            let stderr = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "openssl {step}: {stderr}");
        }
        Self { folder }
    }

    /// The authority's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// A server's certificate.
    pub fn server_certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// Its key.
    pub fn server_key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    /// The directory with all of them, and room for more.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

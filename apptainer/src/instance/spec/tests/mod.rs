mod argv;
mod caller;
mod findings;
mod json;
mod random;

use std::path::PathBuf;

use super::validate::{Caller, Host};
use super::{Finding, Spec};
use crate::container::Gpus;

/// A host with nothing in it.
struct Empty {
    folder: tempfile::TempDir,
    gpus: Gpus,
}

impl Empty {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            gpus: Gpus::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn directory(&self, name: &str) -> PathBuf {
        std::fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    fn findings(&self, spec: &Spec, caller: Option<&Caller<'_>>) -> Vec<Finding> {
        let host = Host {
            root: self.folder.path().to_owned(),
            gpus: self.gpus.clone(),
        };
        let found = spec.findings(&host, caller).into_result();
        found.err().map(|error| error.findings).unwrap_or_default()
    }

    /// The one thing that is wrong, whose problem has these words in it.
    fn finds(&self, spec: &Spec, field: &str, words: &str) {
        let found = self.findings(spec, None);
        let [finding] = found.as_slice() else {
            panic!("not one about {field}: {found:#?}");
        };
        assert_eq!(finding.field, field, "{finding}");
        assert!(finding.problem.contains(words), "{finding}");
    }

    fn accepts(&self, spec: &Spec) {
        assert_eq!(self.findings(spec, None), []);
    }
}

fn spec() -> Spec {
    Spec::new("docker://alpine:3")
}

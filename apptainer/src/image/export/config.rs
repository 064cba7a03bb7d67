//! What an exported OCI image says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use apptainer_sys::sif::{Arch, SifFile};
use serde_json::{Map, Value, json};

use super::ExportError;
use super::date::rfc3339;
use super::error::read_error;
use super::layer::Renamed;
use super::rootfs::{RootFs, sif_error};

/// What an image says of itself.
#[derive(Debug)]
pub(super) struct Description {
    /// In the words of RFC 3339.
    created: String,
    architecture: String,
    /// How it is run, as the OCI image specification has it.
    config: Map<String, Value>,
    /// Scripts that have to have another name than in the SIF file: of an OCI image, Apptainer
    /// makes a run script that runs its entrypoint, and environment scripts from what it says,
    /// over those that are there. A run script would run itself for ever. The old names stay,
    /// for it does not get by links that lead nowhere.
    pub(super) renamed: Renamed,
}

/// What runs when a container is run: Apptainer's script, as somebody wrote it.
const RUNSCRIPT: &str = ".singularity.d/runscript";

/// Reads the image's environment scripts and runs a command. It is in every image that
/// Apptainer made.
const EXEC: &str = ".singularity.d/actions/exec";

/// The environment of the OCI image that it was made of, and of its definition file.
const OCI_ENVIRONMENT: &str = ".singularity.d/env/10-docker2singularity.sh";
const ENVIRONMENT: &str = ".singularity.d/env/90-environment.sh";

/// What `docker run` and `apptainer run` do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entrypoint {
    /// What the configuration of the OCI image says that it was made of.
    OfConfig,
    /// The image's own run script, in the environment that its scripts make.
    Runscript,
    /// The command that is given, in that environment; a shell if there is none.
    Command,
    /// Nothing is known.
    Unknown,
}

impl Description {
    /// Of the image in the SIF file `sif`, or of a sandbox without one.
    pub(super) fn of(sif: Option<&Path>, root: &RootFs) -> Result<Self, ExportError> {
        let mut described = Self {
            created: rfc3339(0),
            architecture: Arch::of_this_machine().to_string(),
            config: Map::new(),
            renamed: Renamed::new(),
        };
        let mut labels = None;
        let mut has_config = false;
        if let Some(path) = sif {
            let sif = SifFile::open(path).map_err(sif_error(path))?;
            let header = sif.table().header();
            described.created = rfc3339(header.created);
            if !matches!(header.arch, Arch::Unknown | Arch::Other(_)) {
                described.architecture = header.arch.to_string();
            }
            if let Some(Value::Object(config)) = sif.oci_config().map_err(sif_error(path))? {
                described.config = config;
                has_config = true;
            }
            let metadata = sif.metadata().map_err(sif_error(path))?;
            labels = metadata.map(|metadata| metadata.data.attributes.labels);
        }
        described.add_labels(labels.unwrap_or_else(|| labels_in(root)));
        described.set_entrypoint(root, has_config)?;
        Ok(described)
    }

    /// Those of the OCI image have the last word.
    fn add_labels(&mut self, labels: BTreeMap<String, String>) {
        if labels.is_empty() {
            return;
        }
        let labels = labels.into_iter().map(|(name, value)| (name, value.into()));
        let mut labels: Map<_, _> = labels.collect();
        if let Some(Value::Object(own)) = self.config.remove("Labels") {
            labels.extend(own);
        }
        self.config.insert("Labels".into(), labels.into());
    }

    fn set_entrypoint(&mut self, root: &RootFs, has_config: bool) -> Result<(), ExportError> {
        let runscript = root.file(RUNSCRIPT);
        let runscript = runscript.map(|path| fs::read(&path).map_err(read_error(&path)));
        let runscript = runscript.transpose()?;
        let has_exec = root.file(EXEC).is_some();
        let entrypoint = Entrypoint::choose(runscript.as_deref(), has_config, has_exec);
        self.rename_environment(root, ENVIRONMENT, "90-exported");
        if matches!(entrypoint, Entrypoint::OfConfig | Entrypoint::Unknown) {
            return Ok(());
        }
        self.rename_environment(root, OCI_ENVIRONMENT, "10-exported");
        let mut words = vec![format!("/{EXEC}")];
        self.config.remove("Cmd");
        if entrypoint == Entrypoint::Runscript {
            let name = |number| format!(".singularity.d/exported-runscript-{number}");
            words.push(format!("/{}", self.rename(root, RUNSCRIPT, name)));
        } else {
            self.config.insert("Cmd".into(), json!(["/bin/sh"]));
        }
        self.config.insert("Entrypoint".into(), words.into());
        Ok(())
    }

    /// Renames a script that sets something.
    fn rename_environment(&mut self, root: &RootFs, path: &str, name: &str) {
        let text = root.file(path).and_then(|path| fs::read(path).ok());
        let is_code = |line: &[u8]| !matches!(line.trim_ascii_start(), [] | [b'#', ..]);
        let lines = text
            .as_deref()
            .unwrap_or_default()
            .split(|byte| *byte == b'\n');
        if { lines }.any(is_code) {
            let name = |number| format!(".singularity.d/env/{name}-{number}.sh");
            self.rename(root, path, name);
        }
    }

    /// Gives a file the first of these names that is free.
    fn rename(&mut self, root: &RootFs, path: &str, name: impl Fn(u32) -> String) -> String {
        let is_free = |name: &String| root.path.join(name).symlink_metadata().is_err();
        let free = (0..u32::MAX).map(name).find(is_free).unwrap_or_default();
        self.renamed.insert(path.into(), (&free).into());
        free
    }

    /// The configuration of an image with one layer.
    pub(super) fn image_config(&self, diff_id: &str) -> Value {
        json!({
            "architecture": self.architecture,
            "config": self.config,
            "created": self.created,
            "history": [{"created": self.created, "created_by": "export of an Apptainer image"}],
            "os": "linux",
            "rootfs": {"diff_ids": [diff_id], "type": "layers"},
        })
    }

    /// What it runs on, for the index.
    pub(super) fn platform(&self) -> Value {
        json!({"architecture": self.architecture, "os": "linux"})
    }
}

impl Entrypoint {
    /// Of an image with this run script. An OCI image's configuration is empty where the image
    /// does not say what is run; other images have one that is empty, too.
    fn choose(runscript: Option<&[u8]>, has_config: bool, has_exec: bool) -> Self {
        // Source: the scripts that Apptainer 1.4.5 writes.
        const OF_OCI: &str = "OCI_ENTRYPOINT=";
        const PLACEHOLDER: &str = "There is no runscript defined for this container";
        let runscript = runscript.map(String::from_utf8_lossy);
        let is_of_oci = |script: &str| script.contains(OF_OCI);
        match runscript {
            None if has_config => Self::OfConfig,
            Some(script) if has_config && is_of_oci(&script) => Self::OfConfig,
            _ if !has_exec => Self::Unknown,
            Some(script) if !script.contains(PLACEHOLDER) => Self::Runscript,
            _ => Self::Command,
        }
    }
}

/// The labels in a root file system that Apptainer made.
fn labels_in(root: &RootFs) -> BTreeMap<String, String> {
    let read = |path| fs::read(path).ok();
    let text = root.file(".singularity.d/labels.json").and_then(read);
    text.and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root file system with these files.
    fn root(folder: &tempfile::TempDir, files: &[(&str, &str)]) -> RootFs {
        let root = RootFs {
            path: folder.path().to_owned(),
            ..RootFs::default()
        };
        for (path, content) in files {
            let path = root.path.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn config(files: &[(&str, &str)]) -> (Value, Renamed) {
        let folder = tempfile::tempdir().unwrap();
        let described = Description::of(None, &root(&folder, files)).unwrap();
        let renamed = described.renamed.clone();
        (described.image_config("sha256:0")["config"].take(), renamed)
    }

    #[test]
    fn scripts_have_names_that_nothing_else_has() {
        let taken = ".singularity.d/exported-runscript-0";
        let (config, renamed) = config(&[
            (RUNSCRIPT, "echo hello"),
            (taken, ""),
            (EXEC, "exec \"$@\""),
            (ENVIRONMENT, "#!/bin/sh\n  export A=b\n"),
            (OCI_ENVIRONMENT, "# Nothing is set.\n\n"),
        ]);
        let runscript = ".singularity.d/exported-runscript-1";
        let words = [format!("/{EXEC}"), format!("/{runscript}")];
        assert_eq!(config, json!({"Entrypoint": words}));
        let expected = [
            (RUNSCRIPT, runscript),
            (ENVIRONMENT, ".singularity.d/env/90-exported-0.sh"),
        ];
        let expected = expected.map(|(from, to)| (from.into(), to.into()));
        assert_eq!(renamed, expected.into());
    }

    #[test]
    fn without_a_run_script_the_command_is_run() {
        let placeholder = "echo \"There is no runscript defined for this container\\n\";";
        let (config, renamed) = config(&[
            (RUNSCRIPT, placeholder),
            (EXEC, "exec \"$@\""),
            (".singularity.d/labels.json", r#"{"a": "b"}"#),
        ]);
        let expected = json!({
            "Cmd": ["/bin/sh"],
            "Entrypoint": ["/.singularity.d/actions/exec"],
            "Labels": {"a": "b"},
        });
        assert_eq!(config, expected);
        assert_eq!(renamed, Renamed::new());
    }

    #[test]
    fn of_what_apptainer_did_not_make_nothing_is_known() {
        assert_eq!(config(&[("etc/passwd", "")]), (json!({}), Renamed::new()));
    }
}

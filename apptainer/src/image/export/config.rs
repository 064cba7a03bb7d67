//! What an exported OCI image says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use apptainer_sys::sif::{Arch, SifFile};
use serde_json::{Map, Value, json};

use super::ExportError;
use super::date::rfc3339;
use super::error::read_error;
use super::layer::CopyOf;
use super::rootfs::{RootFs, sif_error};

/// What an image says of itself.
#[derive(Debug)]
pub(super) struct Description {
    /// In the words of RFC 3339.
    created: String,
    architecture: String,
    /// How it is run, as the OCI image specification has it.
    config: Map<String, Value>,
    /// A file that it needs twice.
    pub(super) copy: Option<CopyOf>,
}

/// What runs when a container is run: Apptainer's script, as somebody wrote it.
const RUNSCRIPT: &str = ".singularity.d/runscript";

/// Reads the image's environment scripts and runs a command. It is in every image that
/// Apptainer made.
const EXEC: &str = ".singularity.d/actions/exec";

/// The run script under another name.
///
/// From an OCI image, Apptainer makes a run script that runs its entrypoint. If that were the
/// run script, it would run itself for ever.
const EXPORTED: &str = ".singularity.d/exported-runscript";

/// What `docker run` and `apptainer run` do.
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
            copy: None,
        };
        let mut labels = None;
        if let Some(path) = sif {
            let sif = SifFile::open(path).map_err(sif_error(path))?;
            let header = sif.table().header();
            described.created = rfc3339(header.created);
            if !matches!(header.arch, Arch::Unknown | Arch::Other(_)) {
                described.architecture = header.arch.to_string();
            }
            if let Some(Value::Object(config)) = sif.oci_config().map_err(sif_error(path))? {
                described.config = config;
            }
            let metadata = sif.metadata().map_err(sif_error(path))?;
            labels = metadata.map(|metadata| metadata.data.attributes.labels);
        }
        described.add_labels(labels.unwrap_or_else(|| labels_in(root)));
        described.set_entrypoint(root)?;
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

    fn set_entrypoint(&mut self, root: &RootFs) -> Result<(), ExportError> {
        let runscript = root.file(RUNSCRIPT);
        let runscript = runscript.map(|path| fs::read(&path).map_err(read_error(&path)));
        let runscript = runscript.transpose()?;
        let has_exec = root.file(EXEC).is_some();
        let has_config = ["Entrypoint", "Cmd"]
            .iter()
            .any(|name| self.config.contains_key(*name));
        let entrypoint = Entrypoint::choose(runscript.as_deref(), has_config, has_exec);
        let exec = format!("/{EXEC}");
        let (entrypoint, command) = match entrypoint {
            Entrypoint::OfConfig | Entrypoint::Unknown => return Ok(()),
            Entrypoint::Runscript => (json!([exec, format!("/{EXPORTED}")]), None),
            Entrypoint::Command => (json!([exec]), Some(json!(["/bin/sh"]))),
        };
        if command.is_none() {
            self.copy = Some(CopyOf {
                from: RUNSCRIPT,
                to: EXPORTED,
            });
        }
        self.config.insert("Entrypoint".into(), entrypoint);
        self.config.remove("Cmd");
        self.config
            .extend(command.map(|command| ("Cmd".into(), command)));
        Ok(())
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

    fn config(files: &[(&str, &str)]) -> (Value, Option<CopyOf>) {
        let folder = tempfile::tempdir().unwrap();
        let described = Description::of(None, &root(&folder, files)).unwrap();
        let copy = described.copy;
        (described.image_config("sha256:0")["config"].take(), copy)
    }

    #[test]
    fn a_run_script_runs_under_another_name() {
        let (config, copy) = config(&[(RUNSCRIPT, "echo hello"), (EXEC, "exec \"$@\"")]);
        let words = [
            "/.singularity.d/actions/exec",
            "/.singularity.d/exported-runscript",
        ];
        assert_eq!(config, json!({"Entrypoint": words}));
        let to = EXPORTED;
        let from = RUNSCRIPT;
        assert_eq!(copy, Some(CopyOf { from, to }));
    }

    #[test]
    fn without_a_run_script_the_command_is_run() {
        let placeholder = "echo \"There is no runscript defined for this container\\n\";";
        let (config, copy) = config(&[
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
        assert_eq!(copy, None);
    }

    #[test]
    fn of_what_apptainer_did_not_make_nothing_is_known() {
        assert_eq!(config(&[("etc/passwd", "")]), (json!({}), None));
    }
}

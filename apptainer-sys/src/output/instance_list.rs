//! `apptainer instance list --json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Unknown;

/// What `instance list --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstanceList {
    /// The instances.
    pub instances: Vec<ListedInstance>,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// An instance as `instance list --json` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListedInstance {
    /// Its name.
    pub instance: String,
    /// The first process in the container.
    pub pid: i32,
    /// The image.
    pub img: PathBuf,
    /// Its address, where it has a network of its own; else empty.
    pub ip: String,
    /// Where its standard error goes.
    #[serde(rename = "logErrPath")]
    pub stderr: PathBuf,
    /// Where its standard output goes.
    #[serde(rename = "logOutPath")]
    pub stdout: PathBuf,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_known_are_kept() {
        let text = r#"{"instances":[{"instance":"a","pid":7,"img":"/i.sif","ip":"",
            "logErrPath":"/a.err","logOutPath":"/a.out","later":true}]}"#;
        let list: InstanceList = serde_json::from_str(text).unwrap();
        assert_eq!(list.instances[0].pid, 7);
        assert_eq!(list.instances[0].unknown["later"], true);
        assert_eq!(list.instances[0].stdout, PathBuf::from("/a.out"));
    }
}

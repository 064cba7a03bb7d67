//! `apptainer inspect --json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An image's metadata: the whole of what `inspect --json --all` prints, and of
/// the `inspect-metadata.json` object within a SIF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The metadata proper.
    pub data: Data,
    /// `container`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What [`Metadata`] wraps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// What was asked for.
    #[serde(default)]
    pub attributes: Attributes,
}

/// The parts of an image's metadata; one that was not asked for, or that the
/// image lacks, is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Attributes {
    /// SCIF apps, by name.
    pub apps: BTreeMap<String, serde_json::Value>,
    /// Environment scripts, by their path in the image.
    pub environment: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What `run` runs.
    pub runscript: String,
    /// What `test` runs.
    pub test: String,
    /// What `run-help` shows.
    pub helpfile: String,
    /// The definition file that it was built from.
    pub deffile: String,
    /// What `instance start` runs.
    pub startscript: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_missing_are_empty() {
        let text = r#"{"data":{"attributes":{"labels":{"a":"b"}}},"type":"container"}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        assert_eq!(metadata.data.attributes.labels["a"], "b");
        assert!(metadata.data.attributes.runscript.is_empty());
    }
}

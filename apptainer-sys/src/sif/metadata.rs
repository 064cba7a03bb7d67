//! What an image says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Fields of JSON that these bindings do not know, by name.
pub type Unknown = BTreeMap<String, serde_json::Value>;

/// An image's metadata: the whole of what `inspect --json --all` prints, and of
/// the `inspect-metadata.json` object within a SIF file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Metadata {
    /// The metadata proper.
    pub data: Data,
    /// `container`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// What [`Metadata`] wraps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Data {
    /// What was asked for.
    pub attributes: Attributes,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// The parts of an image's metadata; one that was not asked for, or that the
/// image lacks, is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Attributes {
    /// SCIF apps, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub apps: BTreeMap<String, App>,
    /// Environment scripts, by their path in the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What `run` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runscript: String,
    /// What `test` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub test: String,
    /// What `run-help` shows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub helpfile: String,
    /// The definition file that it was built from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deffile: String,
    /// What `instance start` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub startscript: String,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

/// A SCIF app; what it lacks is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct App {
    /// Environment scripts, by their path in the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What `run --app` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub runscript: String,
    /// What `test --app` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub test: String,
    /// What `run-help --app` shows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub helpfile: String,
    /// What `instance start --app` runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub startscript: String,
    /// What these bindings do not know.
    #[serde(flatten)]
    pub unknown: Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_missing_are_empty_and_what_is_not_known_is_kept() {
        let text = r#"{"data":{"attributes":{"labels":{"a":"b"},"later":1}},"type":"container"}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let attributes = &metadata.data.attributes;
        assert_eq!(attributes.labels["a"], "b");
        assert!(attributes.runscript.is_empty());
        assert_eq!(serde_json::to_string(&metadata).unwrap(), text);
    }
}

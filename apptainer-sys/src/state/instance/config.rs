//! How an instance was made, as its record keeps it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Value;

/// How an instance was made.
///
/// What callers ask for has a field; all the rest is in [`document`](Self::document).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Variables that its start set for the container.
    pub env: BTreeMap<String, String>,
    /// What was bound into it besides `apptainer.conf`'s own.
    pub binds: Vec<BoundPath>,
    /// The home directory on the host.
    pub home_source: Option<PathBuf>,
    /// The home directory in the container.
    pub home: Option<PathBuf>,
    /// Its host name, where it was given one.
    pub hostname: Option<String>,
    /// Where its first program started.
    pub current_dir: Option<PathBuf>,
    /// Overlays, as they were named: `path` or `path:ro`.
    pub overlays: Vec<String>,
    /// Where what is written outside of binds and overlays goes.
    pub writable: Writable,
    /// Whether it was started with `--fakeroot`.
    pub fakeroot: bool,
    /// Its first program and arguments.
    pub args: Vec<String>,
    /// The environment that its first program was given.
    pub process_env: Vec<String>,
    /// Whether its programs can gain no privileges.
    pub no_new_privileges: bool,
    /// Its capabilities, where it has any: `CAP_NET_RAW`.
    pub capabilities: Vec<String>,
    /// How user ids are mapped.
    pub uid_mappings: Vec<IdMapping>,
    /// How group ids are mapped.
    pub gid_mappings: Vec<IdMapping>,
    /// Its namespaces, as what joins them finds them.
    pub namespaces: Vec<Namespace>,
    /// All of it, as Apptainer wrote it.
    pub document: Value,
}

/// What of the image's own file system can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writable {
    /// Nothing.
    Nothing,
    /// A layer in memory, lost at the end.
    Memory,
    /// The image itself.
    Image,
}

/// A path of the host in the container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct BoundPath {
    /// On the host.
    pub source: PathBuf,
    /// In the container.
    pub destination: PathBuf,
    /// Options by name: `ro`, `image-src`.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub options: BTreeMap<String, Value>,
}

/// A run of ids in the container and on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct IdMapping {
    /// The first in the container.
    #[serde(rename = "containerID")]
    pub container: u32,
    /// The first on the host.
    #[serde(rename = "hostID")]
    pub host: u32,
    /// How many there are.
    pub size: u32,
}

/// A namespace of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Namespace {
    /// What it separates, in OCI's words: `pid`, `mount`, `user`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it can be opened: `/proc/PID/ns/pid`.
    #[serde(default)]
    pub path: PathBuf,
}

impl Config {
    pub(super) fn decode(base64: &str) -> Result<Self, serde_json::Error> {
        Self::parse(&STANDARD.decode(base64).map_err(serde_json::Error::custom)?)
    }

    /// Reads the JSON that a record keeps in base64.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Value = serde_json::from_slice(json)?;
        let Wire {
            engine: Engines { own, oci },
        } = Wire::deserialize(&document)?;
        let capabilities = oci.process.capabilities.unwrap_or_default();
        Ok(Self {
            env: own.env.unwrap_or_default(),
            binds: own.binds.unwrap_or_default(),
            home_source: own.home_source,
            home: own.home,
            hostname: own.hostname,
            current_dir: own.current_dir,
            overlays: own.overlays.unwrap_or_default(),
            writable: match (own.writable_image, own.writable_tmpfs) {
                (true, _) => Writable::Image,
                (false, true) => Writable::Memory,
                (false, false) => Writable::Nothing,
            },
            fakeroot: own.fakeroot,
            args: oci.process.args.unwrap_or_default(),
            process_env: oci.process.env.unwrap_or_default(),
            no_new_privileges: oci.process.no_new_privileges,
            capabilities: capabilities.effective.unwrap_or_default(),
            uid_mappings: oci.linux.uid_mappings.unwrap_or_default(),
            gid_mappings: oci.linux.gid_mappings.unwrap_or_default(),
            namespaces: oci.linux.namespaces.unwrap_or_default(),
            document,
        })
    }
}

fn null_is_empty<'de, D>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The parts of the document that are read. Go writes `null` for what is empty.
#[derive(Deserialize)]
struct Wire {
    #[serde(default, rename = "engineConfig")]
    engine: Engines,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Engines {
    #[serde(rename = "jsonConfig")]
    own: Own,
    #[serde(rename = "ociConfig")]
    oci: Oci,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Own {
    #[serde(rename = "apptainerEnv")]
    env: Option<BTreeMap<String, String>>,
    #[serde(rename = "bindpath")]
    binds: Option<Vec<BoundPath>>,
    #[serde(rename = "homedir")]
    home_source: Option<PathBuf>,
    #[serde(rename = "homeDest")]
    home: Option<PathBuf>,
    hostname: Option<String>,
    #[serde(rename = "cwd")]
    current_dir: Option<PathBuf>,
    #[serde(rename = "overlayImage")]
    overlays: Option<Vec<String>>,
    #[serde(rename = "writableTmpfs")]
    writable_tmpfs: bool,
    #[serde(rename = "writableImage")]
    writable_image: bool,
    fakeroot: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Oci {
    process: OciProcess,
    linux: OciLinux,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OciProcess {
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    capabilities: Option<OciCapabilities>,
    #[serde(rename = "noNewPrivileges")]
    no_new_privileges: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OciCapabilities {
    effective: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OciLinux {
    #[serde(rename = "uidMappings")]
    uid_mappings: Option<Vec<IdMapping>>,
    #[serde(rename = "gidMappings")]
    gid_mappings: Option<Vec<IdMapping>>,
    namespaces: Option<Vec<Namespace>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(json: &str) -> Result<Config, serde_json::Error> {
        Config::decode(&STANDARD.encode(json))
    }

    #[test]
    fn nulls_and_what_is_missing_are_empty() {
        let config = decoded(
            r#"{"engineConfig":{"jsonConfig":{"bindpath":[{"source":"/a","destination":"/b",
            "options":null}],"apptainerEnv":null},"ociConfig":{"process":{"args":null}}}}"#,
        )
        .unwrap();
        assert_eq!(config.binds[0].destination, PathBuf::from("/b"));
        assert!(config.env.is_empty() && config.args.is_empty());
        assert_eq!(decoded("{}").unwrap().namespaces, []);
    }

    #[test]
    fn what_is_no_config_is_refused() {
        assert!(Config::decode("not base64!").is_err());
        assert!(decoded("[1]").is_err());
        assert!(decoded("{").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text: String) {
            let _ = Config::decode(&text);
            let _ = decoded(&text);
        }
    }
}

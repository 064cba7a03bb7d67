//! The lines before the sections, which say what a stage starts from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::DefinitionError;
use crate::image::{Reference, Scheme};

/// What a stage starts from.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// As it was written, if it was, and can be.
    text: Option<String>,
    /// The image, if it is one that can be had apart.
    base: Option<Reference>,
    /// The lines that hold whatever image it is.
    lasting: String,
    /// The stage's name.
    stage: Option<String>,
}

impl Header {
    /// Of a stage that starts from an image.
    pub(super) fn of_image(base: Reference) -> Self {
        Self {
            text: of_reference(&base),
            base: Some(base),
            lasting: String::new(),
            stage: None,
        }
    }

    /// Reads one.
    pub(super) fn read(text: &str) -> Result<Self, DefinitionError> {
        let values = values(text)?;
        let value = |key: &str| values.get(key).map(String::as_str);
        let bootstrap = value("bootstrap").ok_or(DefinitionError::NoBootstrap)?;
        let mut lasting = String::new();
        if let Some(stage) = value("stage") {
            lasting += &["Stage: ", stage, "\n"].concat();
        }
        // Of an image that is a SIF file where it comes from, too.
        let is_sif = matches!(bootstrap, "library" | "shub" | "oras" | "localimage");
        if let Some(keys) = value("fingerprints").filter(|_| is_sif) {
            lasting += &["Fingerprints: ", keys, "\n"].concat();
        }
        Ok(Self {
            base: base(bootstrap, &values)?,
            lasting,
            stage: value("stage").map(str::to_owned),
            text: Some(text.to_owned()),
        })
    }

    pub(super) fn base(&self) -> Option<&Reference> {
        self.base.as_ref()
    }

    pub(super) fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// What decides what it starts from, wherever that lies.
    pub(super) fn identity(&self) -> OsString {
        match (&self.text, &self.base) {
            (Some(text), _) => text.into(),
            (None, Some(base)) => base.identity(),
            (None, None) => OsString::new(),
        }
    }

    /// The header: as it was written, or with the local image at `path` to start from.
    pub(super) fn with_base(&self, path: Option<&Path>) -> Result<String, DefinitionError> {
        let lasting = &self.lasting;
        let Some(path) = path else {
            return self
                .text
                .clone()
                .ok_or_else(|| unwritable(self.base.as_ref()));
        };
        let header = of_path(path).ok_or_else(|| DefinitionError::Unwritable {
            path: path.to_owned(),
        })?;
        Ok(format!("{header}{lasting}\n"))
    }
}

fn unwritable(base: Option<&Reference>) -> DefinitionError {
    let path = base.map(ToString::to_string).unwrap_or_default().into();
    DefinitionError::Unwritable { path }
}

/// The header of an image, if it can be written.
fn of_reference(reference: &Reference) -> Option<String> {
    if let Some(path) = reference.as_path() {
        return of_path(path);
    }
    // Apptainer builds from no address.
    if let Some(Scheme::Http | Scheme::Https) = reference.scheme() {
        return None;
    }
    let word = reference.to_word(false);
    let (bootstrap, from) = word.to_str()?.split_once(':')?;
    let from = from.strip_prefix("//").unwrap_or(from);
    header(bootstrap, from)
}

fn of_path(path: &Path) -> Option<String> {
    header("localimage", path.to_str()?)
}

fn header(bootstrap: &str, from: &str) -> Option<String> {
    let is_kept = from == from.trim() && !from.ends_with('\\') && !from.contains(['#', '\n', '\0']);
    is_kept.then(|| format!("Bootstrap: {bootstrap}\nFrom: {from}\n"))
}

/// The image that the values name, if it can be had apart from the build.
fn base(
    bootstrap: &str,
    values: &BTreeMap<String, String>,
) -> Result<Option<Reference>, DefinitionError> {
    let value = |key: &str| values.get(key).map(String::as_str);
    let prefix = match bootstrap {
        "docker" => "docker://",
        "oras" => "oras://",
        "shub" => "shub://",
        // Of another library than Apptainer's own.
        "library" if value("library").is_some() => return Ok(None),
        "library" => "library://",
        "docker-archive" => "docker-archive:",
        "oci" => "oci:",
        "oci-archive" => "oci-archive:",
        "localimage" => "",
        _ => return Ok(None),
    };
    let from = value("from").filter(|from| !from.is_empty());
    let from = from.ok_or_else(|| DefinitionError::NoFrom {
        bootstrap: bootstrap.to_owned(),
    })?;
    if bootstrap == "localimage" {
        return Ok(Some(Reference::path(from)));
    }
    let mut text = prefix.to_owned();
    if bootstrap == "docker" {
        for part in ["registry", "namespace"].into_iter().filter_map(value) {
            text.push_str(part);
            text.push('/');
        }
    }
    text.push_str(from);
    Ok(Some(Reference::parse(text)?))
}

/// Keys in lower case, and their values: each a line, or more with `\` at the ends.
fn values(text: &str) -> Result<BTreeMap<String, String>, DefinitionError> {
    let mut values = BTreeMap::new();
    let mut begun: Option<(String, String)> = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let said = line.split('#').next().unwrap_or_default();
        let (key, value) = if let Some((key, value)) = begun.take() {
            (key, value + said.trim())
        } else {
            let pair = said
                .split_once(':')
                .ok_or_else(|| DefinitionError::Header {
                    line: line.to_owned(),
                })?;
            (pair.0.trim().to_lowercase(), pair.1.trim().to_owned())
        };
        match value.strip_suffix('\\') {
            Some(part) => begun = Some((key, part.to_owned())),
            None => _ = values.insert(key, value),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Header {
        Header::read(text).unwrap()
    }

    #[test]
    fn the_image_a_stage_starts_from_is_known() {
        let table = [
            (
                "Bootstrap: docker\nFrom: debian:12 # c",
                Some("docker://debian:12"),
            ),
            (
                "bootstrap:docker\nREGISTRY: h.io\nNamespace: n\nFrom: a",
                Some("docker://h.io/n/a"),
            ),
            ("Bootstrap: localimage\nFrom: a b.sif", Some("a b.sif")),
            (
                "Bootstrap: oci-archive\nFrom: /a.tar",
                Some("oci-archive:/a.tar"),
            ),
            ("Bootstrap: library\nFrom: a/b/c", Some("library://a/b/c")),
            ("Bootstrap: library\nLibrary: https://l\nFrom: a", None),
            ("Bootstrap: debootstrap\nOSVersion: bookworm", None),
            ("Bootstrap: scratch", None),
            (
                "Bootstrap: docker\nFrom: deb\\\n  ian",
                Some("docker://debian"),
            ),
        ];
        for (text, expected) in table {
            let expected = expected.map(|text| Reference::parse(text).unwrap());
            assert_eq!(read(text).base(), expected.as_ref(), "{text}");
        }
    }

    #[test]
    fn an_image_that_is_here_stands_in_for_another() {
        let header = read("Bootstrap: docker\nFrom: debian\nStage: one\nFingerprints: 1\n");
        let text = header.with_base(Some(Path::new("/store/a.sif"))).unwrap();
        assert_eq!(
            text,
            "Bootstrap: localimage\nFrom: /store/a.sif\nStage: one\n\n"
        );
        assert!(header.with_base(Some(Path::new("/a#b"))).is_err());
        assert!(header.with_base(None).unwrap().contains("docker"));
        let signed = read("Bootstrap: library\nFrom: a\nFingerprints: 1\n");
        let text = signed.with_base(Some(Path::new("/a"))).unwrap();
        assert!(text.contains("\nFingerprints: 1\n"));
    }

    #[test]
    fn headers_are_written_for_images() {
        let text = |reference: &str| {
            let header = Header::of_image(Reference::parse(reference).unwrap());
            header.with_base(None).ok()
        };
        let table = [
            (
                "docker://debian:12",
                Some(("docker", "docker.io/library/debian:12")),
            ),
            ("oci:/a b", Some(("oci", "/a b"))),
            ("x.sif", Some(("localimage", "x.sif"))),
            ("a#b.sif", None),
            ("https://host.io/a.sif", None),
        ];
        for (reference, parts) in table {
            let expected = parts.map(|(kind, from)| format!("Bootstrap: {kind}\nFrom: {from}\n"));
            assert_eq!(text(reference), expected, "{reference}");
        }
    }
}

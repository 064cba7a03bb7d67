//! What of a repository's configuration counts.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::beneath;
use super::find::Found;
use super::{Host, words};
use crate::workspace::git::GitError;

/// More than this is no configuration.
const MOST: u64 = 1 << 20;

/// What says how files and objects are stored. Nothing of it names a program, or a file.
const HEEDED: [&str; 20] = [
    "core.repositoryformatversion",
    "core.filemode",
    "core.ignorecase",
    "core.symlinks",
    "core.trustctime",
    "core.checkstat",
    "core.precomposeunicode",
    "core.protecthfs",
    "core.protectntfs",
    "core.autocrlf",
    "core.eol",
    "core.bigfilethreshold",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "index.sparse",
    "extensions.objectformat",
    "extensions.compatobjectformat",
    "extensions.refstorage",
    "extensions.noop",
    "extensions.preciousobjects",
];

impl Host {
    /// A configuration with what counts of the repository's, and nothing else.
    pub(super) async fn settings(&self, found: &Found) -> Result<String, GitError> {
        let mut settings = String::new();
        for file in [
            found.common.join("config"),
            found.git.join("config.worktree"),
        ] {
            let Ok(copy) = self.copy(&file).await else {
                continue;
            };
            let mut args = words(["config", "--no-includes", "-z", "--list", "--file"]);
            args.push(OsString::from(copy.path()));
            let ran = self.run(args, Path::new("/"), nowhere()).await?;
            settings.push_str(&heeded(&ran.success()?));
        }
        Ok(settings)
    }

    /// A file as it is now, which nobody else can change.
    async fn copy(&self, below: &Path) -> std::io::Result<tempfile::NamedTempFile> {
        let (mount, below): (PathBuf, PathBuf) = (self.mount.clone(), below.to_owned());
        crate::blocking::blocking(move || {
            let bytes = beneath::read(&mount, &below, MOST)?;
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), bytes)?;
            Ok(file)
        })
        .await
    }
}

/// There is no repository where it is run.
fn nowhere() -> Vec<(OsString, OsString)> {
    vec![("GIT_CEILING_DIRECTORIES".into(), "/".into())]
}

/// What counts of a list, as a configuration file.
fn heeded(listed: &[u8]) -> String {
    let mut written = String::new();
    for entry in listed.split(|byte| *byte == 0) {
        let Ok(entry) = std::str::from_utf8(entry) else {
            continue;
        };
        // A name alone is a yes.
        let (name, value) = entry.split_once('\n').unwrap_or((entry, "true"));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if let Some((section, key)) = name.split_once('.')
            && HEEDED.contains(&name)
            && value.bytes().all(is_plain)
        {
            let _ = writeln!(written, "[{section}]\n\t{key} = {value}");
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_plain_counts() {
        let listed = b"core.filemode\nfalse\0core.fsmonitor\n/evil\0filter.x.clean\nevil\0\
            core.symlinks\0core.eol\nlf\n[filter \"x\"]\0core.autocrlf\ninput\0";
        let expected = "[core]\n\tfilemode = false\n[core]\n\tsymlinks = true\n\
            [core]\n\tautocrlf = input\n";
        assert_eq!(heeded(listed), expected);
    }
}

//! Which files a `%files` line of a definition names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::DefinitionError;

/// The paths that a pattern stands for: Apptainer has a shell expand it, and so it is done here,
/// with the same words.
pub(super) fn expand(pattern: &str) -> Result<Vec<PathBuf>, DefinitionError> {
    if is_plain(pattern) {
        return Ok(vec![pattern.into()]);
    }
    let failed = |message: String| DefinitionError::Pattern {
        pattern: pattern.to_owned(),
        message: message.trim().to_owned(),
    };
    let words = pattern.replace(' ', "\\ ");
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("for n in {words} ; do\n\tprintf \"$n\\0\"\ndone\n"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let paths = output.stdout.split(|byte| *byte == 0);
    let named = paths.filter(|path| !path.is_empty());
    Ok(named
        .map(|path| OsString::from_vec(path.to_vec()).into())
        .collect())
}

/// Whether it is nothing but a path to every shell.
fn is_plain(pattern: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+,:@= ".contains(letter);
    pattern.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn patterns_stand_for_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a 1.txt", "a2.txt", "b"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let base = folder.path().to_str().unwrap();
        let names = |pattern: &str| {
            let found = expand(&format!("{base}/{pattern}")).unwrap();
            let name = |path: &PathBuf| path.file_name().unwrap().to_owned();
            found.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(names("a*.txt"), ["a 1.txt", "a2.txt"]);
        assert_eq!(names("a 1.txt"), ["a 1.txt"]);
        assert_eq!(names("a 1*"), ["a 1.txt"]);
        assert_eq!(names("nosuch*"), ["nosuch*"]);
        assert_eq!(names("\\b"), ["b"]);
        let error = expand("/a(b").unwrap_err();
        assert!(matches!(error, DefinitionError::Pattern { .. }), "{error}");
    }
}

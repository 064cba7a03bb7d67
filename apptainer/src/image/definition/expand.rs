//! Which files a `%files` line of a definition names.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use apptainer_sys::process::{Spawn, Stdio};
use tokio::runtime::Builder;
use tokio::time::Instant;

use super::DefinitionError;
use crate::process::{Keep, Run, RunError};

/// How long the shell may take: a pattern can be a program.
const LIMIT: Duration = Duration::from_secs(30);

/// How many bytes all paths of a pattern may have.
const LONGEST: usize = 16 << 20;

/// The paths that a pattern stands for: Apptainer has a shell expand it, and so it is done here,
/// with the same words. One that never ends is killed.
///
/// Blocks.
pub(super) fn expand(pattern: &str) -> Result<Vec<PathBuf>, DefinitionError> {
    expand_within(pattern, LIMIT)
}

fn expand_within(pattern: &str, limit: Duration) -> Result<Vec<PathBuf>, DefinitionError> {
    if is_plain(pattern) {
        return Ok(vec![pattern.into()]);
    }
    let failed = |message: String| DefinitionError::Pattern {
        pattern: pattern.to_owned(),
        message: message.trim().to_owned(),
    };
    let words = pattern.replace(' ', "\\ ");
    let script = format!("for n in {words} ; do\n\tprintf \"$n\\0\"\ndone\n");
    let make = || {
        let mut spawn = Spawn::new("/bin/sh");
        spawn.args(["-c", &script]).stdout(Stdio::pipe());
        Ok(spawn)
    };
    // Nobody else waits on this thread, which may have no other.
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let ran = runtime.block_on(async {
        let run = Run {
            deadline: Instant::now() + limit,
            stdout: Keep::Whole(LONGEST),
            heard: &mut |_| (),
        };
        run.run(make, ()).await
    });
    let ended = ran.map_err(|error| match error {
        RunError::Make(error) => error,
        RunError::Spawn(error) => failed(error.to_string()),
        RunError::Io(error) => failed(error.to_string()),
        RunError::TimedOut => DefinitionError::PatternTimedOut {
            pattern: pattern.to_owned(),
            limit,
        },
    })?;
    if !ended.exit.success() {
        return Err(failed(ended.stderr_text()));
    }
    let paths = ended.stdout.split(|byte| *byte == 0);
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
    fn a_pattern_that_never_ends_is_given_up_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        // Blanks are taken for a part of a name, and tabs are not.
        let pattern = format!("$(echo\t$$\t>{};exec\tsleep\t300)", path.display());
        let error = expand_within(&pattern, Duration::from_millis(500)).unwrap_err();
        let is_it = matches!(error, DefinitionError::PatternTimedOut { .. });
        assert!(is_it, "{error:?}");
        let shell = fs::read_to_string(&path).unwrap();
        assert!(
            !PathBuf::from("/proc").join(shell.trim()).exists(),
            "it is left"
        );
    }

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

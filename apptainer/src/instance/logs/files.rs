//! What lies beside a log, and how it is called.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of one output.
#[derive(Debug, Clone)]
pub(super) struct Files {
    log: PathBuf,
}

impl Files {
    pub(super) fn new(log: PathBuf) -> Self {
        Self { log }
    }

    /// What the instance writes to.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// What was rotated away: 1 is the newest.
    pub(super) fn rotated(&self, number: u32) -> PathBuf {
        beside(&self.log, &number.to_string())
    }

    /// What is being rotated away.
    pub(super) fn next(&self) -> PathBuf {
        beside(&self.log, NEXT)
    }

    /// How far rotation has come.
    pub(super) fn record(&self) -> PathBuf {
        beside(&self.log, RECORD)
    }
}

const NEXT: &str = "next";
const RECORD: &str = "rotation";
const TIMES: &str = "times";
const NEW: &str = "new";

/// The times of what a file holds.
pub(super) fn times_of(path: &Path) -> PathBuf {
    beside(path, TIMES)
}

/// A file that is being written, to be renamed.
pub(super) fn new_of(path: &Path) -> PathBuf {
    beside(path, NEW)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Whether a file beside a log is of the log's: the logs of an instance whose name goes on
/// where this one's ends are not.
fn is_ours(ending: &str) -> bool {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let ending = ending.strip_suffix(".new").unwrap_or(ending);
    if ending == TIMES {
        return true;
    }
    let ending = ending.strip_suffix(".times").unwrap_or(ending);
    !ending.is_empty() && (ending == NEXT || ending == RECORD || is_number(ending))
}

/// Removes logs with all that lies beside them, as far as that can be done.
pub(in crate::instance) fn remove(logs: &[PathBuf; 2]) {
    for log in logs {
        let removed = remove_beside(log).and_then(|()| ignore_missing(fs::remove_file(log)));
        if let Err(error) = removed {
            tracing::warn!(%error, path = %log.display(), "cannot remove a log");
        }
    }
}

fn remove_beside(log: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|n| n.to_str()))
    else {
        return Ok(());
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let found = entry.file_name();
        let ending = found.to_str().and_then(|found| found.strip_prefix(name));
        let ending = ending.and_then(|rest| rest.strip_prefix('.'));
        if ending.is_some_and(is_ours) {
            ignore_missing(fs::remove_file(entry.path()))?;
        }
    }
    Ok(())
}

pub(super) fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_with_what_lies_beside_it_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let [out, err] = ["x.out", "x.err"].map(|name| folder.path().join(name));
        let ours = [
            "x.out",
            "x.out.1",
            "x.out.27",
            "x.out.1.times",
            "x.out.times",
            "x.out.rotation",
            "x.out.next",
            "x.out.next.times",
            "x.out.times.new",
            "x.err",
            "x.err.2",
        ];
        let others = [
            "x.out.out",
            "x.out.err",
            "x.out.1.out",
            "x.out.1.err.1",
            "x.output",
            "xx.out",
            "x.outer.1",
        ];
        for name in ours.iter().chain(&others) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove(&[out, err]);
        let left = fs::read_dir(folder.path()).unwrap();
        let mut left: Vec<_> = left
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort_unstable();
        let mut others = others.map(str::to_owned);
        others.sort_unstable();
        assert_eq!(left, others);
    }

    #[test]
    fn nothing_to_remove_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        remove(&["a/x.out", "a/x.err"].map(|name| folder.path().join(name)));
    }
}

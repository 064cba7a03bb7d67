//! The files that a cgroup is made of.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

use super::{CgroupError, Limit};

pub(super) fn read(folder: &Path, name: &str) -> Result<String, CgroupError> {
    let path = folder.join(name);
    fs::read_to_string(&path).map_err(|source| CgroupError::Io {
        doing: "read",
        path,
        source,
    })
}

/// The same; `None` where there is no such file, or not any more.
pub(super) fn read_if_there(folder: &Path, name: &str) -> Result<Option<String>, CgroupError> {
    match read(folder, name) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// In one go: each write is one order to the kernel, and an empty one is none.
pub(super) fn write(folder: &Path, name: &str, text: &str) -> Result<(), CgroupError> {
    let path = folder.join(name);
    fs::File::options()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| CgroupError::Io {
            doing: "write",
            path,
            source,
        })
}

/// A file with one number in it; `None` where there is no such file, or something
/// else in it.
pub(super) fn number<T: FromStr>(folder: &Path, name: &str) -> Result<Option<T>, CgroupError> {
    let text = read_if_there(folder, name)?;
    Ok(text.and_then(|text| text.trim().parse().ok()))
}

/// The same for a file with a number, or `max`, in it.
pub(super) fn limit(folder: &Path, name: &str) -> Result<Option<Limit>, CgroupError> {
    let text = read_if_there(folder, name)?;
    Ok(text.and_then(|text| match text.trim() {
        "max" => Some(Limit::Unlimited),
        number => number.parse().ok().map(Limit::Max),
    }))
}

/// A file of lines of a name and a number.
#[derive(Debug, Default)]
pub(super) struct Keyed(String);

impl Keyed {
    pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Self>, CgroupError> {
        Ok(read_if_there(folder, name)?.map(Self))
    }

    pub(super) fn get(&self, name: &str) -> Option<u64> {
        self.0
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(found, _)| *found == name)
            .and_then(|(_, number)| number.trim().parse().ok())
    }
}

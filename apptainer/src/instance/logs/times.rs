//! When what is in a log was seen.
//!
//! A file of marks beside each log: how many bytes the output had, counted from its first, and
//! the microseconds since 1970 when it was seen to have them; two little-endian numbers of
//! eight bytes each. Both only grow. A line had been written by the time of the first mark
//! that is not before its end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::new_of;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// How many bytes the output had.
    pub(super) end: u64,
    /// In microseconds since 1970.
    pub(super) at: u64,
}

const SIZE: usize = 16;
const LENGTH: u64 = SIZE as u64;

impl Mark {
    fn from_bytes(bytes: &[u8; SIZE]) -> Self {
        let [end, at] = [0, 8].map(|start| {
            let number = bytes[start..].first_chunk().expect("there are 16 bytes");
            u64::from_le_bytes(*number)
        });
        Self { end, at }
    }

    fn to_bytes(self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&self.end.to_le_bytes());
        bytes[8..].copy_from_slice(&self.at.to_le_bytes());
        bytes
    }

    pub(super) fn time(self) -> SystemTime {
        let time = UNIX_EPOCH.checked_add(Duration::from_micros(self.at));
        time.unwrap_or(UNIX_EPOCH)
    }
}

/// Takes note that an output has `end` bytes now. Does nothing if that is known, and begins
/// anew if there were more: somebody has emptied the log.
pub(super) fn note(index: &Path, end: u64, now: SystemTime) -> io::Result<()> {
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(index)?;
    let count = count(&file)?;
    // What a machine that went down has written of one.
    file.set_len(count * LENGTH)?;
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut at = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    if let Some(last) = count.checked_sub(1) {
        let last = mark(&file, last)?;
        if last.end == end {
            return Ok(());
        }
        if last.end > end {
            file.set_len(0)?;
        }
        at = at.max(last.at);
    }
    file.write_all(&Mark { end, at }.to_bytes())
}

/// Puts the marks of what lies before `end` into another file.
pub(super) fn copy_until(index: &Path, end: u64, to: &Path) -> io::Result<()> {
    let file = File::open(index)?;
    let marks = count(&file)?.min(first_from(&file, end)?.saturating_add(1));
    let mut target = create_like(&file, to)?;
    io::copy(&mut (&file).take(marks * LENGTH), &mut target)?;
    target.sync_data()
}

/// Removes the marks of what lies before `end`.
pub(super) fn drop_until(index: &Path, end: u64) -> io::Result<()> {
    let mut file = match File::open(index) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let kept = first_from(&file, end.saturating_add(1))?;
    if kept == 0 {
        return Ok(());
    }
    let new = new_of(index);
    let mut target = create_like(&file, &new)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(kept * LENGTH))?;
    io::copy(&mut file, &mut target)?;
    target.sync_data()?;
    fs::rename(new, index)
}

/// A new, empty file that the same users may read.
pub(super) fn create_like(file: &File, path: &Path) -> io::Result<File> {
    let mode = file.metadata()?.permissions().mode();
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let new = options.open(path)?;
    new.set_permissions(fs::Permissions::from_mode(mode))?;
    Ok(new)
}

/// Adds the marks of what lies from `start` to `end`, up to the first that is not before
/// `end`; says whether there is one.
pub(super) fn between(
    file: &File,
    start: u64,
    end: u64,
    marks: &mut Vec<Mark>,
) -> io::Result<bool> {
    const MANY: usize = 256 * SIZE;
    let mut next = first_from(file, start.saturating_add(1))?;
    let mut buffer = [0; MANY];
    loop {
        let length = read_at(file, &mut buffer, next * LENGTH)?;
        let (chunks, _) = buffer[..length].as_chunks();
        for chunk in chunks {
            let mark = Mark::from_bytes(chunk);
            marks.push(mark);
            if mark.end >= end {
                return Ok(true);
            }
        }
        next += chunks.len() as u64;
        if length < MANY {
            return Ok(false);
        }
    }
}

/// As much as there is.
pub(super) fn read_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], start + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Which mark is the first that is not before `end`; how many there are, if none is.
fn first_from(file: &File, end: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, count(file)?);
    while low < high {
        let middle = low + (high - low) / 2;
        if mark(file, middle)?.end < end {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

fn count(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.len() / LENGTH)
}

fn mark(file: &File, number: u64) -> io::Result<Mark> {
    let mut bytes = [0; SIZE];
    file.read_exact_at(&mut bytes, number * LENGTH)?;
    Ok(Mark::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn after(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn marks(path: &Path) -> Vec<(u64, u64)> {
        let mut marks = Vec::new();
        between(&File::open(path).unwrap(), 0, u64::MAX, &mut marks).unwrap();
        let seconds = |mark: Mark| (mark.end, mark.at / 1_000_000);
        marks.into_iter().map(seconds).collect()
    }

    fn index(ends: &[u64]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("times");
        for end in ends {
            note(&path, *end, after(*end)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn a_mark_is_made_when_there_is_more_and_never_goes_back() {
        let (_folder, path) = index(&[10, 20]);
        note(&path, 20, after(21)).unwrap();
        note(&path, 30, after(5)).unwrap();
        assert_eq!(marks(&path), [(10, 10), (20, 20), (30, 20)]);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_log_that_was_emptied_begins_anew() {
        let (_folder, path) = index(&[10, 20]);
        note(&path, 3, after(30)).unwrap();
        assert_eq!(marks(&path), [(3, 30)]);
    }

    #[test]
    fn half_a_mark_is_none() {
        let (_folder, path) = index(&[10]);
        File::options()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"half")
            .unwrap();
        assert_eq!(marks(&path), [(10, 10)]);
        note(&path, 20, after(20)).unwrap();
        assert_eq!(marks(&path), [(10, 10), (20, 20)]);
    }

    #[test]
    fn those_of_a_part_are_up_to_the_first_after_its_end() {
        let ends: Vec<u64> = (1..=1000).map(|number| number * 10).collect();
        let (_folder, path) = index(&ends);
        let file = File::open(&path).unwrap();
        for (start, end, first, last, is_covered) in [
            (0, 10, 10, 10, true),
            (0, 11, 10, 20, true),
            (10, 11, 20, 20, true),
            (15, 9_999, 20, 10_000, true),
            (9_990, 10_001, 10_000, 10_000, false),
        ] {
            let mut found = Vec::new();
            assert_eq!(between(&file, start, end, &mut found).unwrap(), is_covered);
            assert_eq!((found[0].end, found[found.len() - 1].end), (first, last));
            assert_eq!(found.len() as u64, (last - first) / 10 + 1);
        }
    }

    #[test]
    fn rotation_splits_them_so_that_both_parts_have_theirs() {
        let (folder, path) = index(&[10, 20, 30, 40]);
        let rotated = folder.path().join("rotated");
        for (cut, old, new) in [
            (15, &[10, 20][..], &[20, 30, 40][..]),
            (20, &[20][..], &[30, 40][..]),
            (50, &[30, 40][..], &[][..]),
        ] {
            copy_until(&path, cut, &rotated).unwrap();
            drop_until(&path, cut).unwrap();
            drop_until(&path, cut).unwrap();
            let ends = |path| -> Vec<u64> { marks(path).iter().map(|mark| mark.0).collect() };
            assert_eq!(ends(&rotated), old);
            assert_eq!(ends(&path), new);
        }
    }
}

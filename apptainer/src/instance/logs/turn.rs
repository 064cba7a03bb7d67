//! One rotation of a log, step by step.
//!
//! 1. [`copy`](Turn::copy): the log's beginning is in `NAME.out.next`, on disk.
//! 2. [`announce`](Turn::announce): the record says how much that is. From here on readers wait.
//! 3. [`mark`](Turn::mark): a marker stands over some of it in the log, and the record says so.
//! 4. [`collapse`](Turn::collapse) or [`truncate`](Turn::truncate) takes it out of the log,
//!    and the marker with it.
//! 5. [`finish`](Turn::finish): what was rotated earlier moves up, `NAME.out.next` becomes
//!    `NAME.out.1`, and the record says so.
//!
//! Killed at any moment, the next turn goes on from there: before the second step nothing has
//! happened, and after the third the marker tells whether the fourth has. Readers can tell as well, so that
//! to them no byte is ever missing or there twice.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;

use super::files::{Files, ignore_missing, new_of, times_of};
use super::record::{Marker, Pending, Record};
use super::times;

/// A rotation. Holds a lock on the log, which keeps others from rotating it.
#[derive(Debug)]
pub(super) struct Turn {
    files: Files,
    log: File,
    record: File,
    max_files: u32,
}

/// How long readers are waited for: the instance may stand still meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);
/// How far before the end of the log the end of a line is looked for.
const REACH: u64 = 64 * 1024;
/// At how many block ends it is.
const BLOCKS: u64 = 256;

impl Turn {
    /// Begins one; `None` while another is under way.
    pub(super) fn new(files: &Files, max_files: u32) -> io::Result<Option<Self>> {
        let log = File::options().read(true).write(true).open(files.log())?;
        match log.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let path = files.record();
        let record = match File::options().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                times::create_like(&log, &path)?;
                File::options().read(true).write(true).open(&path)?
            }
            record => record?,
        };
        Ok(Some(Self {
            files: files.clone(),
            log,
            record,
            max_files,
        }))
    }

    /// Waits until nobody reads, for a while. What is returned keeps readers out until it is
    /// dropped.
    pub(super) fn exclude(&self) -> io::Result<Excluded<'_>> {
        const PAUSE: Duration = Duration::from_millis(1);
        let started = Instant::now();
        loop {
            match self.record.try_lock() {
                Ok(()) => return Ok(Excluded(&self.record)),
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let what = "somebody keeps it locked for reading";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, what));
                }
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// What is left of a turn that was cut off.
    pub(super) fn pending(&self) -> io::Result<Option<Pending>> {
        Ok(Record::read(&self.record)?.pending)
    }

    /// Whether that has still to be taken out of the log.
    pub(super) fn is_in_log(&self, pending: Pending) -> io::Result<bool> {
        pending.is_in(&self.log)
    }

    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.log.metadata()?.len())
    }

    /// Where to cut a log that is to lose whole blocks: at most `max_size` in, or one block;
    /// at the end of a line if there is one among the block ends in reach. `None` when the log
    /// is too short.
    pub(super) fn block_cut(&self, block: u64, max_size: u64) -> io::Result<Option<u64>> {
        // Not all of it: the kernel refuses that.
        let most = max_size.max(block).min(self.length()?.saturating_sub(1)) / block;
        let least = (most / 2).max(most.saturating_sub(BLOCKS));
        for count in (least + 1..=most).rev() {
            let mut before = [0];
            self.log.read_exact_at(&mut before, count * block - 1)?;
            if before == *b"\n" {
                return Ok(Some(count * block));
            }
        }
        Ok((most > 0).then_some(most * block))
    }

    /// Where to cut a log that nobody writes to: after its last line, if its end is in reach
    /// and what comes then can be moved to the front; at the end otherwise.
    pub(super) fn line_cut(&self) -> io::Result<u64> {
        let length = self.length()?;
        let start = length.saturating_sub(REACH);
        let mut bytes = vec![0; usize::try_from(length - start).expect("it is at most 64 KiB")];
        self.log.read_exact_at(&mut bytes, start)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n');
        let cut = end.map(|end| start + end as u64 + 1);
        Ok(cut.filter(|cut| movable(*cut, length)).unwrap_or(length))
    }

    /// How much of the log has been copied.
    pub(super) fn copied(&self) -> io::Result<u64> {
        Ok(fs::metadata(self.files.next())?.len())
    }

    /// Has `NAME.out.next` be the log's first `end` bytes, of which it has the first `have`.
    pub(super) fn copy(&self, have: u64, end: u64) -> io::Result<()> {
        let next = self.files.next();
        let mut next = if have == 0 {
            times::create_like(&self.log, &next)?
        } else {
            File::options().write(true).open(&next)?
        };
        next.set_len(have.min(end))?;
        next.seek(SeekFrom::End(0))?;
        if have < end {
            // A handle of its own, for its position.
            let mut log = File::open(self.files.log())?;
            log.seek(SeekFrom::Start(have))?;
            let copied = io::copy(&mut log.take(end - have), &mut next)?;
            if copied < end - have {
                return Err(shortened());
            }
        }
        next.sync_all()
    }

    /// Says that the first `cut` bytes are to be taken out.
    pub(super) fn announce(&self, cut: u64) -> io::Result<Pending> {
        if cut < Marker::LENGTH as u64 || self.length()? < cut {
            return Err(shortened());
        }
        let mut record = Record::read(&self.record)?;
        self.copy_times(record.base + cut)?;
        let marker = Marker::new(cut - Marker::LENGTH as u64);
        let pending = Pending {
            cut,
            marker,
            is_marked: false,
        };
        record.pending = Some(pending);
        record.write(&self.record)?;
        Ok(pending)
    }

    /// Marks what is in the log, and is to be taken out.
    pub(super) fn mark(&self, mut pending: Pending) -> io::Result<Pending> {
        pending.marker.write(&self.log)?;
        pending.is_marked = true;
        let record = Record::read(&self.record)?;
        Record {
            pending: Some(pending),
            ..record
        }
        .write(&self.record)?;
        Ok(pending)
    }

    /// Has the times of what is to be taken out ready, where there are any.
    fn copy_times(&self, end: u64) -> io::Result<()> {
        let index = times_of(self.files.log());
        if index.exists() {
            times::copy_until(&index, end, &times_of(&self.files.next()))?;
        }
        Ok(())
    }

    /// Takes whole blocks out of the beginning of the log while others write to it.
    pub(super) fn collapse(&self, pending: Pending) -> io::Result<()> {
        collapse(&self.log, pending.cut)
    }

    /// The same by writing what is left to the beginning. Nobody else may write meanwhile.
    ///
    /// Should more be left than can be moved without endangering it, because a turn was cut
    /// off and others have written since, all of it is rotated away.
    pub(super) fn truncate(&self, mut pending: Pending) -> io::Result<()> {
        let length = self.length()?;
        if length > pending.cut && !movable(pending.cut, length) {
            self.copy(pending.cut, length)?;
            pending.cut = length;
            let record = Record::read(&self.record)?;
            self.copy_times(record.base + length)?;
            let pending = Some(pending);
            Record { pending, ..record }.write(&self.record)?;
        }
        let left = length.saturating_sub(pending.cut);
        if left > 0 {
            let mut bytes = vec![0; usize::try_from(left).expect("it is at most 64 KiB")];
            self.log.read_exact_at(&mut bytes, pending.cut)?;
            self.log.write_all_at(&bytes, 0)?;
            self.log.sync_data()?;
        }
        self.log.set_len(left)
    }

    /// Gives what was rotated away its name. Can be done again when it was cut off.
    pub(super) fn finish(&self) -> io::Result<()> {
        let record = Record::read(&self.record)?;
        let Some(pending) = record.pending else {
            return Ok(());
        };
        let next = self.files.next();
        if next.exists() {
            self.make_room()?;
            let first = self.files.rotated(1);
            ignore_missing(fs::rename(times_of(&next), times_of(&first)))?;
            fs::rename(&next, &first)?;
        }
        let base = record.base + pending.cut;
        times::drop_until(&times_of(self.files.log()), base)?;
        Record {
            base,
            pending: None,
        }
        .write(&self.record)?;
        self.remove_old()
    }

    /// Moves up what was rotated earlier, so that there is no first.
    pub(super) fn make_room(&self) -> io::Result<()> {
        let last = self.max_files.max(1);
        let free = (1..last).find(|number| !self.files.rotated(*number).exists());
        for number in (1..free.unwrap_or(last)).rev() {
            let [old, new] = [number, number + 1].map(|number| self.files.rotated(number));
            ignore_missing(fs::rename(times_of(&old), times_of(&new)))?;
            fs::rename(old, new)?;
        }
        Ok(())
    }

    /// Removes what there was room for when more was kept.
    fn remove_old(&self) -> io::Result<()> {
        let too_old = (self.max_files.max(1) + 1..).map(|number| self.files.rotated(number));
        for path in too_old.take_while(|path| path.exists()) {
            ignore_missing(fs::remove_file(times_of(&path)))?;
            fs::remove_file(path)?;
        }
        Ok(())
    }
}

fn shortened() -> io::Error {
    let what = "somebody has shortened it while it was rotated";
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

/// Whether what comes after the cut can be moved before the marker.
fn movable(cut: u64, length: u64) -> bool {
    let left = length.saturating_sub(cut);
    left <= REACH && left + Marker::LENGTH as u64 <= cut
}

fn collapse(file: &File, length: u64) -> io::Result<()> {
    rustix::fs::fallocate(file, FallocateFlags::COLLAPSE_RANGE, 0, length).map_err(Into::into)
}

/// Keeps readers out.
#[derive(Debug)]
pub(super) struct Excluded<'a>(&'a File);

impl Drop for Excluded<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "cannot let readers of a log go on");
        }
    }
}

/// The length of the blocks that the file system of a log can take out of a file; `None`
/// where it cannot. Tries it on a file of its own.
pub(super) fn collapsible(files: &Files) -> io::Result<Option<u64>> {
    /// For those who ask for an absurd block.
    const MOST: u64 = 1 << 20;
    let path = new_of(files.log());
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let block = rustix::fs::fstatfs(&file).map(|found| u64::try_from(found.f_bsize));
    let found = match block {
        Ok(Ok(block)) if (1..=MOST).contains(&block) => {
            file.set_len(2 * block)?;
            collapse(&file, block).is_ok().then_some(block)
        }
        _ => None,
    };
    fs::remove_file(path)?;
    Ok(found)
}

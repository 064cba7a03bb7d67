//! How far the rotation of a log has come.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What `NAME.out.rotation` says. It is written in place, in one write, by whoever holds the
/// file's lock; who reads the log holds it shared meanwhile.
///
/// 56 bytes, numbers little-endian: `aptrlog1`, the base, the phase (0: nothing is being done; 1:
/// the marker may have been written; 2: it has been), the cut, where the marker is, the marker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// How many bytes have been rotated away.
    pub(super) base: u64,
    pub(super) pending: Option<Pending>,
}

/// A rotation that somebody has begun, who was killed if nobody holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pending {
    /// How many bytes are to be taken from the log's beginning; `NAME.out.next` has them.
    pub(super) cut: u64,
    pub(super) marker: Marker,
    /// Whether the marker has been written for certain: nothing is taken away before.
    pub(super) is_marked: bool,
}

impl Pending {
    /// Whether those bytes are still in the log.
    pub(super) fn is_in(&self, log: &File) -> io::Result<bool> {
        Ok(!self.is_marked || self.marker.is_in(log)?)
    }
}

/// Bytes that are written over some of those that are to be taken away: they are in the log
/// for as long as those are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker {
    pub(super) at: u64,
    pub(super) bytes: [u8; Self::LENGTH],
}

const MAGIC: [u8; 8] = *b"aptrlog1";
const LENGTH: usize = 56;

// Phases.
const NOTHING: u64 = 0;
const MARKING: u64 = 1;
const MARKED: u64 = 2;

impl Record {
    /// What a file says; that nothing was done yet, if it is empty.
    pub(super) fn read(file: &File) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Self::from_bytes(&bytes).ok_or_else(|| {
                let what = "the record of a log's rotation is not one: remove it with the log";
                io::Error::new(io::ErrorKind::InvalidData, what)
            }),
            Err(_) if file.metadata()?.len() == 0 => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.to_bytes(), 0)?;
        file.sync_data()
    }

    fn from_bytes(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (base, rest) = rest.split_first_chunk()?;
        let (phase, rest) = rest.split_first_chunk()?;
        let (cut, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let pending = |is_marked| Pending {
            cut: u64::from_le_bytes(*cut),
            marker: Marker {
                at: u64::from_le_bytes(*at),
                bytes: *rest.first_chunk().expect("what is left is the marker"),
            },
            is_marked,
        };
        let pending = match u64::from_le_bytes(*phase) {
            NOTHING => None,
            MARKING => Some(pending(false)),
            MARKED => Some(pending(true)),
            _ => return None,
        };
        (*magic == MAGIC).then_some(Self {
            base: u64::from_le_bytes(*base),
            pending,
        })
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.base.to_le_bytes());
        if let Some(pending) = self.pending {
            let phase = if pending.is_marked { MARKED } else { MARKING };
            bytes[16..24].copy_from_slice(&phase.to_le_bytes());
            bytes[24..32].copy_from_slice(&pending.cut.to_le_bytes());
            bytes[32..40].copy_from_slice(&pending.marker.at.to_le_bytes());
            bytes[40..].copy_from_slice(&pending.marker.bytes);
        }
        bytes
    }
}

impl Marker {
    pub(super) const LENGTH: usize = 16;

    /// One that no log has, to be written to `at`.
    pub(super) fn new(at: u64) -> Self {
        use std::hash::{BuildHasher, RandomState};
        let [high, low] = [0, 1].map(|part| RandomState::new().hash_one((part, at)));
        let number = u128::from(high) << 64 | u128::from(low);
        Self {
            at,
            bytes: number.to_le_bytes(),
        }
    }

    pub(super) fn is_in(&self, log: &File) -> io::Result<bool> {
        let mut found = [0; Self::LENGTH];
        match log.read_exact_at(&mut found, self.at) {
            Ok(()) => Ok(found == self.bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn write(&self, log: &File) -> io::Result<()> {
        log.write_all_at(&self.bytes, self.at)?;
        log.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(Record::read(&file).unwrap(), Record::default());
        let pending = |is_marked| Pending {
            cut: 4096,
            marker: Marker::new(4080),
            is_marked,
        };
        for pending in [None, Some(pending(false)), Some(pending(true))] {
            let record = Record { base: 7, pending };
            record.write(&file).unwrap();
            assert_eq!(Record::read(&file).unwrap(), record);
        }
        file.write_all_at(b"x", 0).unwrap();
        assert!(Record::read(&file).is_err());
    }

    #[test]
    fn a_marker_is_in_a_log_once_it_is_written() {
        let log = tempfile::tempfile().unwrap();
        let marker = Marker::new(5);
        assert!(!marker.is_in(&log).unwrap());
        log.write_all_at(&[b'x'; 64], 0).unwrap();
        assert!(!marker.is_in(&log).unwrap());
        marker.write(&log).unwrap();
        assert!(marker.is_in(&log).unwrap());
        assert_ne!(marker.bytes, Marker::new(5).bytes);
    }
}

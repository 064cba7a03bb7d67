//! Where the last lines of an output begin.

use std::io;

use super::log::{BLOCK, Log};

/// Where the last `lines` lines of what lies from `start` to `end` begin. Reads backwards, in
/// blocks, no more than it has to, and goes over into what was rotated away.
pub(super) fn tail(log: &mut Log, start: u64, end: u64, lines: u64) -> io::Result<u64> {
    by_blocks(log, start, end, lines, BLOCK as u64)
}

pub(super) fn by_blocks(
    log: &mut Log,
    start: u64,
    end: u64,
    mut lines: u64,
    block: u64,
) -> io::Result<u64> {
    let mut position = end;
    if lines == 0 {
        return Ok(end);
    }
    while position > start {
        let wanted = position.saturating_sub(block).max(start);
        let (found, bytes) = range(log, wanted, position)?;
        for (index, _) in bytes
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, byte)| **byte == b'\n')
        {
            let after = found + index as u64 + 1;
            // The end of the last line is not that of one before.
            if after < end {
                lines -= 1;
            }
            if lines == 0 {
                return Ok(after);
            }
        }
        if found > wanted {
            return Ok(found);
        }
        position = wanted;
    }
    Ok(position.max(start))
}

/// What lies from `start` to `end`, or as much of its end as is still there.
fn range(log: &mut Log, start: u64, end: u64) -> io::Result<(u64, Vec<u8>)> {
    let (mut first, mut bytes) = (start, Vec::new());
    while first + (bytes.len() as u64) < end {
        let wanted = first + bytes.len() as u64;
        let piece = log.read(wanted, Some(end), false)?;
        if piece.start != wanted {
            (first, bytes) = (piece.start, Vec::new());
        }
        if piece.bytes.is_empty() {
            return Ok((end.max(first), Vec::new()));
        }
        bytes.extend(piece.bytes);
    }
    Ok((first, bytes))
}

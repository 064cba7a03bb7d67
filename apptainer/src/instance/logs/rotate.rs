//! Rotating a log while others write to it.

use std::io;
use std::sync::Arc;

use super::files::Files;
use super::keeper::Halt;
use super::turn::{Turn, collapsible};
use crate::blocking::blocking;

/// How one log is rotated.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    files: Files,
    max_size: u64,
    max_files: u32,
    /// Once it is known.
    way: Option<Way>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Blocks of this length are taken out of the log; who writes does not notice.
    Collapse(u64),
    /// Who writes is halted while the last of it is copied.
    Halt,
}

impl Rotation {
    pub(super) fn new(files: &Files, max_size: u64, max_files: u32) -> Self {
        Self {
            files: files.clone(),
            max_size,
            max_files,
            way: None,
        }
    }

    /// The best way that the file system knows.
    async fn way(&mut self) -> io::Result<Way> {
        if let Some(way) = self.way {
            return Ok(way);
        }
        let files = self.files.clone();
        let block = blocking(move || collapsible(&files)).await?;
        Ok(*self.way.insert(block.map_or(Way::Halt, Way::Collapse)))
    }

    #[cfg(test)]
    pub(super) async fn collapses(&mut self) -> bool {
        self.way().await.unwrap() != Way::Halt
    }

    /// Whether a log of this length is to be rotated.
    pub(super) fn is_due(&self, length: u64) -> bool {
        match self.way {
            Some(Way::Collapse(block)) => length > self.max_size.max(block),
            Some(Way::Halt) | None => length > self.max_size,
        }
    }

    /// Rotates it, or finishes what was cut off. Says whether that was done: not while another
    /// is at it. Dropped midway, it is finished all the same.
    pub(super) async fn rotate(&mut self, halt: &Arc<dyn Halt>) -> io::Result<bool> {
        let (files, max_files) = (self.files.clone(), self.max_files);
        let turn = blocking(move || Turn::new(&files, max_files)).await?;
        let Some(turn) = turn else {
            return Ok(false);
        };
        let (way, max_size) = (self.way().await?, self.max_size);
        let (turn, done) = blocking(move || {
            let done = prepare(&turn, way, max_size);
            (turn, done)
        })
        .await;
        match done {
            Ok(Prepared::Done) => return Ok(true),
            Ok(Prepared::ToHalt) => {}
            // A reader in the way is in the way of halting, too.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(error),
            Err(error) if matches!(way, Way::Collapse(_)) && turn.pending()?.is_some() => {
                tracing::warn!(%error, "a log is from now on rotated by halting who writes to it");
                self.way = Some(Way::Halt);
            }
            Err(error) => return Err(error),
        }
        let halted = tokio::spawn(halted(turn, Arc::clone(halt)));
        halted.await.map_err(io::Error::other)?.map(|()| true)
    }
}

enum Prepared {
    Done,
    /// The log is copied as far as it goes; what is left takes nobody writing.
    ToHalt,
}

fn prepare(turn: &Turn, way: Way, max_size: u64) -> io::Result<Prepared> {
    let pending = turn.pending()?;
    match (pending, way) {
        (Some(pending), _) if !turn.is_in_log(pending)? => {
            let _excluded = turn.exclude()?;
            turn.finish()?;
        }
        (Some(pending), Way::Collapse(_)) => {
            let _excluded = turn.exclude()?;
            // It may have more, if that could not be finished by halting.
            turn.copy(pending.cut, pending.cut)?;
            turn.collapse(turn.mark(pending)?)?;
            turn.finish()?;
        }
        (None, Way::Collapse(block)) => {
            let Some(cut) = turn.block_cut(block, max_size)? else {
                return Ok(Prepared::Done);
            };
            turn.copy(0, cut)?;
            let _excluded = turn.exclude()?;
            let pending = turn.announce(cut)?;
            turn.collapse(turn.mark(pending)?)?;
            turn.finish()?;
        }
        (Some(_), Way::Halt) => return Ok(Prepared::ToHalt),
        (None, Way::Halt) => {
            turn.copy(0, turn.length()?)?;
            return Ok(Prepared::ToHalt);
        }
    }
    Ok(Prepared::Done)
}

async fn halted(turn: Turn, halt: Arc<dyn Halt>) -> io::Result<()> {
    let halted = halt.halt().await;
    let done = match halted {
        Ok(()) => blocking(move || while_halted(&turn)).await,
        Err(error) => Err(error),
    };
    // Whoever could be halted in part goes on, too.
    halt.resume().await?;
    done
}

fn while_halted(turn: &Turn) -> io::Result<()> {
    let _excluded = turn.exclude()?;
    let pending = if let Some(pending) = turn.pending()? {
        pending
    } else {
        let cut = turn.line_cut()?;
        turn.copy(turn.copied()?.min(cut), cut)?;
        turn.announce(cut)?
    };
    turn.truncate(turn.mark(pending)?)?;
    turn.finish()
}

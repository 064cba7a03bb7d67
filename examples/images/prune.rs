//! `images prune`

use std::io::{Write, stdout};
use std::time::Duration;

use apptainer::image::{Prune, Store};
use clap::Args;

use crate::keep::say;
use crate::{Result, units};

/// Takes away what pulls have left that were broken off, and images as far as it is told.
#[derive(Args)]
pub(crate) struct Options {
    /// Images that were last used longer ago: 30d
    #[arg(long, value_parser = units::duration)]
    unused_for: Option<Duration>,
    /// Images that were made longer ago: 12w
    #[arg(long, value_parser = units::duration)]
    older_than: Option<Duration>,
    /// As many as it takes for the rest to take no more room: 20G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    keep: Option<u64>,
    /// As many as it takes for the file system to have so much free: 50G
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    free: Option<u64>,
    /// Only say what would go
    #[arg(long)]
    dry_run: bool,
}

impl Options {
    pub(crate) async fn run(self, store: &Store) -> Result<()> {
        let pruned = store.prune(self.policy()).await?;
        let (remove, free) = if self.dry_run {
            ("would remove", "would free")
        } else {
            ("removed", "freed")
        };
        for image in &pruned.removed {
            say(remove, image)?;
        }
        for image in &pruned.in_use {
            say("in use:", image)?;
        }
        writeln!(stdout(), "{free} {}", units::bytes(pruned.bytes))?;
        Ok(())
    }

    fn policy(&self) -> Prune {
        let mut prune = Prune::new();
        if let Some(age) = self.unused_for {
            prune = prune.unused_for(age);
        }
        if let Some(age) = self.older_than {
            prune = prune.older_than(age);
        }
        if let Some(most) = self.keep {
            prune = prune.keep_bytes(most);
        }
        if let Some(free) = self.free {
            prune = prune.free_bytes(free);
        }
        if self.dry_run {
            prune = prune.dry_run();
        }
        prune
    }
}

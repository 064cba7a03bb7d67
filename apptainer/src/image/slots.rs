//! How many images are made at the same time.

use std::io;
use std::time::Duration;

use apptainer_sys::state::host_name;
use tokio::time::Instant;

use super::store::{Holder, Root, store_error};
use super::{ImageError, Options, Subject, deadline};
use crate::blocking::blocking;
use crate::lock::FileLock;

/// How long to wait before looking again whether there is one.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Options {
    /// The right to make one, of so many of this machine.
    ///
    /// Cancel-safe.
    pub(super) async fn slot(
        &self,
        subject: Subject<'_>,
        root: &Root,
    ) -> Result<FileLock, ImageError> {
        let deadline = deadline(self.limit);
        let mut pause = FIRST_PAUSE;
        loop {
            let (root, most) = (root.clone(), self.client.conversions());
            let folder = root.path().to_owned();
            let taken = blocking(move || try_take(&root, most)).await;
            let holder = match taken.map_err(store_error(&folder))? {
                Ok(slot) => return Ok(slot),
                Err(holder) => holder,
            };
            if Instant::now() + pause > deadline {
                return Err(ImageError::Busy {
                    reference: subject.to_string(),
                    most: self.client.conversions(),
                    limit: self.limit,
                });
            }
            self.listener.wait_for(holder);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// A slot that is free; or who has one of them.
fn try_take(root: &Root, most: usize) -> io::Result<Result<FileLock, Option<Holder>>> {
    let host = host_name()?;
    let mut holder = None;
    for number in 0..most {
        let lock = root.lock("making", &format!("{}-{number}", host.to_string_lossy()));
        match lock.try_take()? {
            Ok(lock) => return Ok(Ok(lock)),
            Err(other) => holder = holder.or(other),
        }
    }
    Ok(Err(holder))
}

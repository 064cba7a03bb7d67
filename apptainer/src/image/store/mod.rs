//! Where images are kept.

mod access;
mod handle;
mod in_use;
mod key;
mod layout;
mod lock_file;
mod open;
mod prune;
mod record;
mod scratch;
mod stored;
mod stores;
mod turn;
mod verify;

use std::io;
use std::path::Path;

use super::ImageError;

pub use handle::{Store, Usage};
pub use layout::Form;
pub use lock_file::Holder;
pub use prune::{Prune, Pruned};
pub use stored::StoredImage;
pub use verify::Damage;

pub(crate) use access::Access;
pub(super) use in_use::InUse;
pub(super) use key::{Key, Source, file_state};
pub(super) use layout::{Root, sync};
pub(super) use record::{EntryRecord, NameRecord, now_millis, write_entry};
pub(super) use scratch::{Scratch, create_private, remove_all, size_of};
pub(crate) use stores::Stores;
pub(super) use turn::Turn;

pub(super) fn store_error(path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Store { path, source }
}

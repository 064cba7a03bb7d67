//! Whose images are run.
//!
//! Whoever can write to a directory can replace what is in it. So what a user runs comes only
//! from directories that belong to that user, to root, or to somebody who is said to be
//! trusted, and that nobody else can write to. Those above a store are left to whoever chose it.
//!
//! In a directory that many may write to, with the sticky bit as `/tmp` has it, each user has a
//! store: a directory named by the number of the user.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::layout::Root;
use super::store_error;
use crate::image::ImageError;

/// Who runs images, and whose images.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    me: u32,
    trusted: Vec<u32>,
}

/// What there is at a path that is to be a store.
pub(super) struct Found {
    /// Where we keep images, if we may.
    pub(super) ours: Option<Root>,
    /// Where others do whom we trust.
    pub(super) others: Vec<Root>,
}

/// What a directory is that is to be a store.
enum Place {
    One(Found),
    /// It has a store for each user.
    Common,
}

const STICKY: u32 = 0o1000;
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;

impl Access {
    /// This process's user's, who trusts root and these users.
    pub(crate) fn new(trusted: &[u32]) -> Self {
        let mut trusted = trusted.to_vec();
        trusted.push(0);
        Self {
            me: nix::unistd::geteuid().as_raw(),
            trusted,
        }
    }

    /// The store at `path`, made if it is not there.
    pub(super) fn own(&self, path: &Path) -> Result<Found, ImageError> {
        let found = match fs::metadata(path) {
            // Somebody else may make it at the same time, and then it is looked at as any.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path).and_then(|()| fs::metadata(path))
            }
            found => found,
        };
        let found = found.map_err(store_error(path))?;
        match self.look(path, &found)? {
            Place::One(found) => Ok(found),
            Place::Common => self.own_in(path),
        }
    }

    /// The store at `path` that others fill. Whose it is is trusted, for it was chosen.
    pub(super) fn shared(&self, path: &Path) -> Result<Vec<Root>, ImageError> {
        let found = fs::metadata(path).map_err(store_error(path))?;
        let mut access = self.clone();
        access.trusted.push(found.uid());
        let Found { ours, mut others } = match access.look(path, &found)? {
            Place::One(found) => found,
            Place::Common => access.found_in(path),
        };
        others.extend(ours);
        Ok(others)
    }

    fn look(&self, path: &Path, found: &Metadata) -> Result<Place, ImageError> {
        if !self.is_trusted(found.uid()) {
            return Err(untrusted(path, found));
        }
        if is_writable_by_many(found) {
            // Without that bit everybody could put a directory in another's place.
            if found.mode() & STICKY == 0 {
                return Err(untrusted(path, found));
            }
            return Ok(Place::Common);
        }
        let root = Root::new(path);
        let is_ours = found.uid() == self.me;
        Ok(Place::One(Found {
            ours: is_ours.then(|| root.clone()),
            others: if is_ours { Vec::new() } else { vec![root] },
        }))
    }

    /// The stores in a directory that has one for each user; one's own is made there.
    fn own_in(&self, path: &Path) -> Result<Found, ImageError> {
        let ours = path.join(self.me.to_string());
        let made = create(&ours);
        match fs::symlink_metadata(&ours) {
            // A link that leads nowhere, and a file, too, which no directory can be made over.
            Ok(found) if !is_store_of(&found, self.me) => return Err(untrusted(&ours, &found)),
            found => made.and(found).map_err(store_error(&ours))?,
        };
        Ok(self.found_in(path))
    }

    /// The same, of those that are there.
    fn found_in(&self, path: &Path) -> Found {
        let of_user = |user: u32| {
            let path = path.join(user.to_string());
            let found = fs::symlink_metadata(&path).ok()?;
            is_store_of(&found, user).then(|| Root::new(&path))
        };
        let is_other = |user: &&u32| **user != self.me;
        let others = self.trusted.iter().filter(is_other);
        Found {
            ours: of_user(self.me),
            others: others.filter_map(|user| of_user(*user)).collect(),
        }
    }

    fn is_trusted(&self, user: u32) -> bool {
        user == self.me || self.trusted.contains(&user)
    }
}

/// Never through a link, which could lead to another directory of that user's.
fn is_store_of(found: &Metadata, user: u32) -> bool {
    found.is_dir() && found.uid() == user && !is_writable_by_many(found)
}

/// A user's private group, which by convention has the user's number, is not many.
fn is_writable_by_many(found: &Metadata) -> bool {
    let mode = found.mode();
    mode & OTHERS_WRITE != 0 || mode & GROUP_WRITES != 0 && found.gid() != found.uid()
}

fn untrusted(path: &Path, found: &Metadata) -> ImageError {
    ImageError::Untrusted {
        path: path.to_owned(),
        owner: found.uid(),
        mode: found.permissions().mode() & 0o7777,
    }
}

/// Makes a directory, and those above it, that nobody but its owner can write to, whatever the
/// umask says.
pub(super) fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    fn access(trusted: &[u32]) -> Access {
        Access::new(trusted)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_store_that_is_not_there_is_made_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/store");
        let found = access(&[]).own(&path).unwrap();
        assert!(found.ours.is_some());
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o022, 0);
    }

    #[test]
    fn what_everybody_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o777);
        let refused = access(&[]).own(folder.path());
        assert!(matches!(refused, Err(ImageError::Untrusted { .. })));
        let refused = access(&[]).shared(folder.path());
        assert!(matches!(refused, Err(ImageError::Untrusted { .. })));
    }

    #[test]
    fn in_what_is_common_each_user_has_a_store() {
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o1777);
        let found = access(&[]).own(folder.path()).unwrap();
        let me = nix::unistd::geteuid().to_string();
        assert_eq!(found.ours, Some(Root::new(&folder.path().join(me))));
        assert!(found.others.is_empty());
    }

    #[test]
    fn a_link_in_the_place_of_a_users_store_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o1777);
        let me = nix::unistd::geteuid().to_string();
        std::os::unix::fs::symlink(target.path(), folder.path().join(me)).unwrap();
        let refused = || access(&[]).own(folder.path());
        assert!(matches!(refused(), Err(ImageError::Untrusted { .. })));
        drop(target);
        assert!(matches!(refused(), Err(ImageError::Untrusted { .. })));
    }
}

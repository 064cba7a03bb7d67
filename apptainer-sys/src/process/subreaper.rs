//! Taking in the children of children.

use std::io;

/// Whether this process takes in the orphans among its descendants, as `init`
/// otherwise does.
///
/// They are then its children: it can [find](super::Tree) them, and must wait for
/// them. Children of a PID namespace stay in it.
pub fn is_subreaper() -> io::Result<bool> {
    Ok(nix::sys::prctl::get_child_subreaper()?)
}

/// Makes this process take in the orphans among its descendants, or no longer.
///
/// It is a property of the whole process, so it is the program's to set, not a
/// library's.
pub fn set_subreaper(on: bool) -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(on)?)
}

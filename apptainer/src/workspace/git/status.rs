//! What git prints about an index and a working tree.

use std::ffi::OsString;

use bytes::Bytes;

use super::GitError;
use super::ran::Ran;

/// The letter for a file that is as it was.
const UNCHANGED: u8 = b'.';

/// The mode of a file that is not there.
const NO_MODE: &str = "000000";

/// How one side has a file and another does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Added,
    Deleted,
    Updated,
}

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) mode: Bytes,
    pub(super) id: Bytes,
}

/// How the index differs from a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) path: Bytes,
    pub(super) kind: Kind,
    /// What the commit has.
    pub(super) blob: Blob,
}

/// How the working tree differs from the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unstaged {
    pub(super) path: Bytes,
    pub(super) kind: Kind,
    /// What mode the working tree's file has.
    pub(super) mode: Bytes,
}

/// A file with conflicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unmerged {
    pub(super) path: Bytes,
    /// What the commit that is checked out has, if it does.
    ours: Option<Blob>,
    /// Whether the working tree has it.
    pub(super) is_there: bool,
}

/// What is checked out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct CheckedOut {
    /// The commit, where the branch has one.
    pub(super) head: Option<String>,
    /// The branch, if it is one.
    pub(super) branch: Option<String>,
}

/// What `git status --porcelain=v2 --branch -z` prints. Paths are from the top of the repository.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) checked_out: CheckedOut,
    pub(super) staged: Vec<Staged>,
    pub(super) unstaged: Vec<Unstaged>,
    pub(super) unmerged: Vec<Unmerged>,
    /// Files, and directories that are repositories.
    pub(super) untracked: Vec<Bytes>,
}

impl Status {
    /// Whether the index or a tracked file differs from the commit that is checked out.
    pub(super) fn is_dirty(&self) -> bool {
        !(self.staged.is_empty() && self.unstaged.is_empty() && self.unmerged.is_empty())
    }

    /// How the index differs from the commit that is checked out, which has what is ours of a file
    /// with conflicts.
    pub(super) fn staged_from_head(&self) -> Vec<Staged> {
        let mut staged = self.staged.clone();
        let unmerged = self.unmerged.iter().filter_map(|file| {
            Some(Staged {
                path: file.path.clone(),
                kind: Kind::Updated,
                blob: file.ours.clone()?,
            })
        });
        staged.extend(unmerged);
        staged
    }

    pub(super) fn parse(argv: &[OsString], printed: &Bytes) -> Result<Self, GitError> {
        let mut status = Self::default();
        let mut records = Records::new(printed);
        while let Some(record) = records.next() {
            let is_known = status.add(&record, &mut records).is_some();
            if !is_known {
                return Err(Ran::unexpected(argv, &record));
            }
        }
        Ok(status)
    }

    fn add(&mut self, record: &Bytes, records: &mut Records) -> Option<()> {
        let (sort, rest) = cut(record)?;
        match &sort[..] {
            b"#" => self.add_header(&rest),
            b"1" => {
                let [state, _, in_head, _, mode, head, _, path] = fields(rest)?;
                let blob = Blob {
                    mode: in_head,
                    id: head,
                };
                self.add_changed(&state, path, mode, blob)?;
            }
            // Only a git that does not heed `status.renames` looks for these.
            b"2" => {
                let [state, _, in_head, _, mode, head, _, score, path] = fields(rest)?;
                let old = records.next()?;
                let blob = Blob {
                    mode: in_head,
                    id: head,
                };
                if score.starts_with(b"R") {
                    self.add_renamed(&state, old, blob.clone());
                }
                let state = [renamed(state[0]), renamed(*state.get(1)?)];
                self.add_changed(&state, path, mode, blob)?;
            }
            b"u" => {
                let [_, _, _, mode, _, there, _, id, _, path] = fields(rest)?;
                let ours = (mode != NO_MODE).then_some(Blob { mode, id });
                let is_there = there != NO_MODE;
                self.unmerged.push(Unmerged {
                    path,
                    ours,
                    is_there,
                });
            }
            b"?" => self.untracked.push(rest),
            b"!" => {}
            _ => return None,
        }
        Some(())
    }

    fn add_header(&mut self, header: &Bytes) {
        let header = String::from_utf8_lossy(header);
        match header.split_once(' ') {
            Some(("branch.oid", "(initial)") | ("branch.head", "(detached)")) => {}
            Some(("branch.oid", id)) => self.checked_out.head = Some(id.to_owned()),
            Some(("branch.head", name)) => self.checked_out.branch = Some(name.to_owned()),
            _ => {}
        }
    }

    fn add_changed(&mut self, state: &[u8], path: Bytes, mode: Bytes, blob: Blob) -> Option<()> {
        let &[staged, unstaged] = state else {
            return None;
        };
        if unstaged != UNCHANGED {
            let kind = kind(unstaged)?;
            let path = path.clone();
            self.unstaged.push(Unstaged { path, kind, mode });
        }
        if staged != UNCHANGED {
            let kind = kind(staged)?;
            self.staged.push(Staged { path, kind, blob });
        }
        Some(())
    }

    /// The old path of a file that has another.
    fn add_renamed(&mut self, state: &[u8], path: Bytes, blob: Blob) {
        let kind = Kind::Deleted;
        if state[0] == b'R' {
            self.staged.push(Staged { path, kind, blob });
        } else {
            let mode = blob.mode;
            self.unstaged.push(Unstaged { path, kind, mode });
        }
    }
}

/// Parses what `git diff-index --cached --raw -z` prints. What has conflicts is there if the commit
/// has it.
pub(super) fn parse_raw(argv: &[OsString], printed: &Bytes) -> Result<Vec<Staged>, GitError> {
    let mut staged = Vec::new();
    let mut records = Records::new(printed);
    while let Some(record) = records.next() {
        let unexpected = || Ran::unexpected(argv, &record);
        let parsed = (|| {
            let [mode, _, id, _, state] = fields(record.clone())?;
            let mode = mode.slice(1..);
            Some((Blob { mode, id }, *state.first()?, records.next()?))
        })();
        let (blob, state, path) = parsed.ok_or_else(unexpected)?;
        if state == b'U' && blob.mode == NO_MODE {
            continue;
        }
        let kind = kind(state).ok_or_else(unexpected)?;
        staged.push(Staged { path, kind, blob });
    }
    Ok(staged)
}

/// What a letter stands for, if it is known.
fn kind(letter: u8) -> Option<Kind> {
    Some(match letter {
        b'A' => Kind::Added,
        b'D' => Kind::Deleted,
        b'M' | b'T' | b'U' => Kind::Updated,
        _ => return None,
    })
}

/// A new path is one that was added.
fn renamed(letter: u8) -> u8 {
    match letter {
        b'R' | b'C' => b'A',
        letter => letter,
    }
}

/// What ends with a NUL byte each.
struct Records {
    rest: Bytes,
}

impl Records {
    fn new(printed: &Bytes) -> Self {
        Self {
            rest: printed.clone(),
        }
    }

    fn next(&mut self) -> Option<Bytes> {
        let end = self.rest.iter().position(|byte| *byte == 0)?;
        let record = self.rest.split_to(end);
        let _ = self.rest.split_to(1);
        Some(record)
    }
}

/// What is before the first space, and behind it.
fn cut(bytes: &Bytes) -> Option<(Bytes, Bytes)> {
    let end = bytes.iter().position(|byte| *byte == b' ')?;
    Some((bytes.slice(..end), bytes.slice(end + 1..)))
}

/// So many fields, with a space between each, the last of which may hold some.
fn fields<const N: usize>(mut rest: Bytes) -> Option<[Bytes; N]> {
    let mut found = Vec::with_capacity(N);
    while found.len() + 1 < N {
        let (field, behind) = cut(&rest)?;
        found.push(field);
        rest = behind;
    }
    found.push(rest);
    found.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(printed: &'static [u8]) -> Result<Status, GitError> {
        Status::parse(&[], &Bytes::from_static(printed))
    }

    #[test]
    fn a_path_may_hold_spaces_and_ends_of_lines() {
        let printed = b"1 A. N... 000000 100644 100644 00 11  a\n b \0? c d\0";
        let status = parse(printed).unwrap();
        assert_eq!(status.staged[0].path, " a\n b "[..]);
        assert_eq!(status.staged[0].kind, Kind::Added);
        assert!(status.unstaged.is_empty());
        assert_eq!(status.untracked, ["c d"]);
    }

    #[test]
    fn a_rename_that_was_looked_for_all_the_same_is_two_changes() {
        let printed = b"2 RM N... 100644 100644 100644 00 00 R90 new\0old\0";
        let status = parse(printed).unwrap();
        let staged: Vec<_> = status
            .staged
            .iter()
            .map(|one| (&one.path[..], one.kind))
            .collect();
        let expected: [(&[u8], _); 2] = [(b"old", Kind::Deleted), (b"new", Kind::Added)];
        assert_eq!(staged, expected);
        assert_eq!(status.unstaged[0].kind, Kind::Updated);
    }

    #[test]
    fn headers_that_nobody_knows_are_no_error_and_other_lines_are() {
        let status = parse(b"# branch.oid (initial)\0# branch.head main\0# stash 3\0").unwrap();
        let branch = Some("main".to_owned());
        assert_eq!(status.checked_out, CheckedOut { head: None, branch });
        for wrong in [
            &b"3 x\0"[..],
            b"1 A. N...\0",
            b"1 X. N 0 0 0 0 0 a\0",
            b"2 R\0",
            b"x\0",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn raw_lines_say_what_the_commit_has() {
        let printed = b":100644 000000 aa 00 D\0x y\0:100644 000000 aa 00 U\0u\0\
            :000000 000000 00 00 U\0v\0";
        let staged = parse_raw(&[], &Bytes::from_static(printed)).unwrap();
        let blob = Blob {
            mode: "100644".into(),
            id: "aa".into(),
        };
        let one = |path: &'static str, kind| Staged {
            path: path.into(),
            kind,
            blob: blob.clone(),
        };
        assert_eq!(staged, [one("x y", Kind::Deleted), one("u", Kind::Updated)]);
        assert!(parse_raw(&[], &Bytes::from_static(b":1 2 3 4 X\0a\0")).is_err());
    }
}

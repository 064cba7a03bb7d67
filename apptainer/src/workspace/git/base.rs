//! Which commit is compared with.

use std::collections::HashMap;

use super::GitError;
use super::repository::{Repository, Untracked, words};
use super::status::{CheckedOut, Status};

/// What is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// What is checked out: nothing, where the branch has no commit yet.
    Head,
    /// This commit.
    Commit(String),
}

impl Base {
    /// The one that the caller has named.
    pub(super) async fn named(repository: &Repository, name: &str) -> Result<Self, GitError> {
        if name == "HEAD" {
            return Ok(Self::Head);
        }
        let found = resolve(repository, name).await?;
        found.map(Self::Commit).ok_or_else(|| GitError::UnknownRef {
            reference: name.to_owned(),
        })
    }

    /// The one against which all shows that was done here, committed or not, as the Python SDK
    /// chooses it, but without asking a remote.
    ///
    /// 1. What `origin` has of the branch that is checked out; unless that is what is checked
    ///    out, and nothing tracked differs from it.
    /// 2. Where the branch left the default branch of `origin`; where they have nothing in
    ///    common, that branch. Where it is not known which that is, it is `main` or `master`.
    /// 3. Without those, where it left the local `main`, or else `master`, if that has not moved
    ///    on.
    /// 4. What is checked out.
    ///
    /// Without a status one is asked for where it matters.
    pub(super) async fn choose(
        repository: &Repository,
        checked_out: &CheckedOut,
        status: Option<&Status>,
    ) -> Result<Self, GitError> {
        let head = checked_out.head.as_deref();
        let branch = checked_out.branch.as_deref().filter(|_| head.is_some());
        let refs = refs(repository, branch).await?;
        let remote = |name: &str| refs.get(&format!("refs/remotes/origin/{name}"));
        if let Some(upstream) = branch.and_then(remote) {
            let shows_something = match status {
                _ if Some(upstream.as_str()) != head => true,
                Some(status) => status.is_dirty(),
                None => repository.status(Untracked::No).await?.is_dirty(),
            };
            if shows_something {
                return Ok(Self::of(upstream.clone(), head));
            }
        }
        let default = ["HEAD", "main", "master"].into_iter().find_map(remote);
        if let Some(default) = default {
            let fork = match head {
                Some(head) => merge_base(repository, head, default).await?,
                None => None,
            };
            return Ok(Self::of(fork.unwrap_or_else(|| default.clone()), head));
        }
        let local = |name: &'static str| Some((name, refs.get(&format!("refs/heads/{name}"))?));
        if let (Some((name, tip)), Some(head)) =
            (["main", "master"].into_iter().find_map(local), head)
            && branch != Some(name)
            && merge_base(repository, head, tip).await?.as_ref() == Some(tip)
        {
            return Ok(Self::of(tip.clone(), Some(head)));
        }
        Ok(Self::Head)
    }

    fn of(commit: String, head: Option<&str>) -> Self {
        if Some(commit.as_str()) == head {
            Self::Head
        } else {
            Self::Commit(commit)
        }
    }
}

/// The commit of this name, if there is one.
pub(super) async fn resolve(
    repository: &Repository,
    name: &str,
) -> Result<Option<String>, GitError> {
    // No name begins like an option.
    if name.starts_with('-') || name.contains('\0') {
        return Ok(None);
    }
    let name = format!("{name}^{{commit}}");
    let ran = repository
        .git(words(["rev-parse", "--verify", "--quiet", &name]))
        .await?;
    // With some names it exits with 128, quiet or not.
    if !ran.exit.success() {
        return Ok(None);
    }
    Ok(Some(text(&ran.stdout)))
}

/// The branches that matter, and their commits.
async fn refs(
    repository: &Repository,
    branch: Option<&str>,
) -> Result<HashMap<String, String>, GitError> {
    let mut args = words([
        "for-each-ref",
        "--format=%(objectname) %(refname)",
        "refs/heads/main",
        "refs/heads/master",
        "refs/remotes/origin/HEAD",
        "refs/remotes/origin/main",
        "refs/remotes/origin/master",
    ]);
    args.extend(branch.map(|branch| format!("refs/remotes/origin/{branch}").into()));
    let listed = repository.git(args).await?.success()?;
    let listed = String::from_utf8_lossy(&listed);
    let refs = listed.lines().filter_map(|line| line.split_once(' '));
    Ok(refs
        .map(|(id, name)| (name.to_owned(), id.to_owned()))
        .collect())
}

async fn merge_base(
    repository: &Repository,
    one: &str,
    other: &str,
) -> Result<Option<String>, GitError> {
    if one == other {
        return Ok(Some(one.to_owned()));
    }
    let found = repository
        .git(words(["merge-base", one, other]))
        .await?
        .answer()?;
    Ok(found.map(|found| text(&found)))
}

fn text(printed: &[u8]) -> String {
    String::from_utf8_lossy(printed).trim().to_owned()
}

//! What a container has written makes the host's git run nothing, and read nothing else.
//!
//! Each test lays a trap that an ordinary git falls into, as it checks first.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use apptainer::workspace::{Git, GitError};

use super::shown;

/// A directory that a container shares with the host, as one that has been written to.
struct Shared {
    folder: tempfile::TempDir,
}

impl Shared {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::create_dir(folder.path().join("secret")).unwrap();
        Self { folder }
    }

    /// One with a repository in `r`, in which `a` has been changed.
    fn with_repository() -> Self {
        let shared = Self::new();
        shared.sh(
            "git init -q -b main r; cd r; echo a > a; echo b > b; git add .; git commit -qm x
            echo new > a",
        );
        shared
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn git(&self) -> Git {
        Git::on_host(self.work(), "/work", "/work")
    }

    /// Runs a script on the host, in the directory. `$trap` is a program that shows that it ran.
    fn sh(&self, script: &str) {
        let trap = self.folder.path().join("trap");
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("set -e\n{script}")])
            .current_dir(self.work())
            .env("trap", &trap)
            .env("secret", self.folder.path().join("secret"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_AUTHOR_NAME", "A")
            .env("GIT_AUTHOR_EMAIL", "a@example.org")
            .env("GIT_COMMITTER_NAME", "A")
            .env("GIT_COMMITTER_EMAIL", "a@example.org");
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {stderr}");
    }

    fn lay(&self, script: &str) {
        let trap = self.folder.path().join("trap");
        let program = format!("#!/bin/sh\ntouch {}\nexit 1\n", self.ran().display());
        fs::write(&trap, program).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&trap, mode).unwrap();
        self.sh(script);
        let _ = fs::remove_file(self.ran());
    }

    fn ran(&self) -> PathBuf {
        self.folder.path().join("ran")
    }

    /// Lays a trap that an ordinary git falls into, and ours does not.
    async fn runs_nothing(&self, trap: &str, ordinary: &str) {
        self.lay(trap);
        let changes = self.git().changes("r", None).await.unwrap();
        assert_eq!(shown(&changes), ["U a"]);
        let changes = self.git().changes("r", Some("HEAD")).await.unwrap();
        assert_eq!(shown(&changes), ["U a"]);
        let diff = self.git().diff("r/a", None).await.unwrap();
        assert_eq!(diff.original_text().unwrap(), "a\n");
        assert_eq!(diff.modified_text().unwrap(), "new\n");
        assert!(!self.ran().exists(), "it ran");
        self.sh(&format!("({ordinary}) >/dev/null 2>&1 || true"));
        assert!(self.ran().exists(), "it is no trap");
    }

    /// Checks that a repository that leads out is not looked at.
    async fn is_refused(&self, path: &str) {
        let error = self.git().changes(path, None).await.unwrap_err();
        assert!(matches!(error, GitError::Outside { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn no_monitor() {
    let shared = Shared::with_repository();
    let trap = "git -C r config core.fsmonitor \"$trap\"";
    shared.runs_nothing(trap, "git -C r status").await;
}

#[tokio::test]
async fn no_hook() {
    let shared = Shared::with_repository();
    let trap = "ln -s \"$trap\" r/.git/hooks/post-index-change; sleep 1.1; touch r/b";
    shared.runs_nothing(trap, "git -C r status").await;
}

#[tokio::test]
async fn no_hook_elsewhere() {
    let shared = Shared::with_repository();
    let trap = "mkdir hooks; ln -s \"$trap\" hooks/post-index-change; sleep 1.1; touch r/b
        git -C r config core.hooksPath $PWD/hooks";
    shared.runs_nothing(trap, "git -C r status").await;
}

#[tokio::test]
async fn no_diff_program() {
    let shared = Shared::with_repository();
    let trap = "git -C r config diff.external \"$trap\"";
    shared.runs_nothing(trap, "git -C r diff").await;
}

#[tokio::test]
async fn no_diff_driver() {
    for key in ["command", "textconv"] {
        let shared = Shared::with_repository();
        let trap = format!(
            "echo '* diff=evil' > r/.git/info/attributes
            git -C r config diff.evil.{key} \"$trap\""
        );
        shared.runs_nothing(&trap, "git -C r diff").await;
    }
}

#[tokio::test]
async fn no_filter() {
    for key in ["clean", "process"] {
        let shared = Shared::with_repository();
        // Whether it has to be asked, git sees by the file's time.
        let trap = format!(
            "echo '* filter=evil' > r/.git/info/attributes; touch r/b
            git -C r config filter.evil.{key} \"$trap\"
            git -C r config filter.evil.required true"
        );
        shared.runs_nothing(&trap, "git -C r status").await;
    }
}

#[tokio::test]
async fn no_filter_by_attributes_of_the_working_tree() {
    let shared = Shared::with_repository();
    let trap =
        "cd r; echo '* filter=evil' > .gitattributes; git add .; git commit -qm x -- .gitattributes
        git reset -q; touch b
        git config filter.evil.clean \"$trap\"";
    shared.runs_nothing(trap, "git -C r status").await;
}

#[tokio::test]
async fn nothing_that_is_included_or_of_a_worktree() {
    let shared = Shared::with_repository();
    let trap =
        "git config -f more core.fsmonitor \"$trap\"; git -C r config include.path $PWD/more";
    shared.runs_nothing(trap, "git -C r status").await;

    let shared = Shared::with_repository();
    let trap = "cd r; git config core.repositoryformatversion 1
        git config extensions.worktreeConfig true; git config --worktree core.fsmonitor \"$trap\"";
    shared.runs_nothing(trap, "git -C r status").await;
}

#[tokio::test]
async fn nothing_that_fetches() {
    for remote in [
        "git config remote.origin.url \"ext::$trap x\"; git config protocol.ext.allow always",
        "git config remote.origin.url ssh://localhost/x; git config core.sshCommand \"$trap\"",
        "git config remote.origin.url $PWD; git config remote.origin.uploadpack \"$trap\"",
    ] {
        let shared = Shared::with_repository();
        shared.lay(&format!(
            "cd r; {remote}; git config remote.origin.promisor true
            git config core.repositoryformatversion 1; git config extensions.partialClone origin
            id=$(git rev-parse HEAD:a)
            rm -f .git/objects/$(echo $id | cut -c 1-2)/$(echo $id | cut -c 3-)"
        ));
        let changes = shared.git().changes("r", None).await.unwrap();
        assert_eq!(shown(&changes), ["U a"]);
        let error = shared.git().diff("r/a", None).await.unwrap_err();
        assert!(matches!(error, GitError::Failed { .. }), "{error:?}");
        assert!(!shared.ran().exists(), "it ran: {remote}");
        shared.sh("git -C r cat-file -p HEAD:a >/dev/null 2>&1 || true");
        assert!(shared.ran().exists(), "it is no trap: {remote}");
    }
}

#[tokio::test]
async fn nothing_of_a_submodule() {
    for place in ["sub", "deep/sub"] {
        let shared = Shared::with_repository();
        let trap = format!(
            "git init -q -b main s; git -C s commit -q --allow-empty -m x; cd r
            git -c protocol.file.allow=always submodule --quiet add ../s {place} 2>/dev/null
            git commit -qm x -- .gitmodules {place}
            git -C {place} config core.fsmonitor \"$trap\""
        );
        shared.runs_nothing(&trap, "git -C r status").await;
    }
}

#[tokio::test]
async fn nothing_of_the_callers_own_git() {
    let shared = Shared::with_repository();
    shared.lay("git config -f config core.fsmonitor \"$trap\"");
    let config = shared.work().join("config");
    // Nobody else is in this process.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "git::closed::with_settings_of_the_callers",
            "--ignored",
        ])
        .env("GIT_CONFIG_GLOBAL", &config)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .env("GIT_CONFIG_VALUE_0", shared.folder.path().join("trap"))
        .env("GIT_DIR", "/nonexistent")
        .env("GIT_INDEX_FILE", "/nonexistent")
        .env("SHARED", shared.work());
    assert!(child.status().unwrap().success());
    assert!(!shared.ran().exists());
}

#[tokio::test]
#[ignore = "the test above runs it"]
async fn with_settings_of_the_callers() {
    let git = Git::on_host(std::env::var_os("SHARED").unwrap(), "/work", "/work");
    assert_eq!(shown(&git.changes("r", None).await.unwrap()), ["U a"]);
}

/// A repository on the host that the container does not see.
const SECRET: &str = "git init -q -b main $secret/r; cd $secret/r
    echo secret > a; git add .; git commit -qm secret; echo more > a; cd - >/dev/null";

#[tokio::test]
async fn a_repository_elsewhere_is_not_looked_at() {
    let shared = Shared::new();
    let secret = shared.folder.path().join("secret/r");
    shared.sh(SECRET);
    for (name, leads) in [("linked", true), ("named", false)] {
        let top = shared.work().join(name);
        fs::create_dir(&top).unwrap();
        if leads {
            symlink(secret.join(".git"), top.join(".git")).unwrap();
        } else {
            let line = format!("gitdir: {}\n", secret.join(".git").display());
            fs::write(top.join(".git"), line).unwrap();
        }
        shared.is_refused(name).await;
    }
    symlink(&secret, shared.work().join("directory")).unwrap();
    shared.is_refused("directory").await;
    shared.is_refused("../secret/r").await;
    shared.is_refused("/etc").await;
    symlink("../../secret/r", shared.work().join("relative")).unwrap();
    shared.is_refused("relative").await;
    // None of them is a repository in the directory.
    let error = shared.git().changes("", None).await.unwrap_err();
    assert!(error.is_not_a_repository(), "{error:?}");
}

#[tokio::test]
async fn objects_elsewhere_are_not_read() {
    let traps = [
        "rm -r .git/objects; ln -s $secret/r/.git/objects .git/objects",
        "echo $secret/r/.git/objects > .git/objects/info/alternates",
        "echo ../../../../secret/r/.git/objects > .git/objects/info/alternates",
        "mkdir -p ../other/info; echo $secret/r/.git/objects > ../other/info/alternates
        echo ../../../other > .git/objects/info/alternates",
        "rm -r .git/objects/pack; ln -s $secret/r/.git/objects/pack .git/objects/pack",
        "echo $secret/r/.git > .git/commondir",
    ];
    for trap in traps {
        let shared = Shared::with_repository();
        shared.sh(SECRET);
        shared.sh(&format!("cd r; {trap}"));
        shared.is_refused("r").await;
        let error = shared.git().diff("r/a", None).await.unwrap_err();
        assert!(
            matches!(error, GitError::Outside { .. }),
            "{trap}: {error:?}"
        );
    }
}

#[tokio::test]
async fn files_elsewhere_are_not_read() {
    let shared = Shared::with_repository();
    shared.sh(SECRET);
    shared.sh(
        "cd r; git config core.worktree $secret/r; rm b; ln -s $secret/r/a b
        ln -s $secret/r elsewhere; ln -s /proc/self/environ .gitignore",
    );
    let changes = shared.git().changes("r", None).await.unwrap();
    assert_eq!(
        shown(&changes),
        ["A .gitignore", "U a", "U b", "A elsewhere"]
    );
    let diff = shared.git().diff("r/b", None).await.unwrap();
    let target = shared.folder.path().join("secret/r/a");
    assert_eq!(
        OsStr::new(&*diff.modified_text().unwrap()),
        target.as_os_str()
    );
    let error = shared.git().diff("r/elsewhere/a", None).await.unwrap_err();
    assert!(matches!(error, GitError::Outside { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_file_is_not_waited_for() {
    for name in ["index", "HEAD", "config", "packed-refs", "info/exclude"] {
        let shared = Shared::with_repository();
        shared.sh(&format!("rm -f r/.git/{name}; mkfifo r/.git/{name}"));
        // Whatever it says of it.
        let _ = shared.git().changes("r", None).await;
    }
    let shared = Shared::with_repository();
    shared.sh("mkfifo r/pipe");
    let error = shared.git().diff("r/pipe", None).await.unwrap_err();
    assert!(error.is_not_found(), "{error:?}");
}

#[tokio::test]
async fn links_mean_what_they_mean_in_the_container() {
    let shared = Shared::with_repository();
    let link = |target: &str, name: &str| symlink(target, shared.work().join(name)).unwrap();
    link("/work/r", "absolute");
    link("r/../r", "relative");
    fs::create_dir(shared.work().join("by-name")).unwrap();
    fs::write(shared.work().join("by-name/.git"), "gitdir: /work/r/.git\n").unwrap();
    for path in ["absolute", "relative", "/work/absolute/../r"] {
        let changes = shared.git().changes(Path::new(path), None).await.unwrap();
        assert_eq!(shown(&changes), ["U a"], "{path}");
    }
    let changes = shared.git().changes("by-name", None).await.unwrap();
    assert_eq!(shown(&changes), ["D a", "D b"]);
    link("loop", "loop");
    assert!(
        shared
            .git()
            .changes("loop", None)
            .await
            .unwrap_err()
            .is_not_found()
    );
}

//! What has been changed in repositories, by git itself, in a container and on the host.

mod bases;
mod closed;
mod diffs;
mod kinds;
mod many;
mod nested;
mod places;
mod states;

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use apptainer::instance::{Service, Supervisor};
use apptainer::workspace::{Git, GitChange, GitError, GitStatus};
use fixtures::World;

/// A container with the host's git, and a directory that it shares with the host.
///
/// Repositories are made by scripts in it, in `/work`.
struct Place {
    world: World,
    supervisor: Supervisor,
    service: Service,
    work: PathBuf,
}

impl Place {
    async fn new() -> Self {
        let world = World::new().await;
        let supervisor = world.supervisor().await;
        let work = world.folder().join("work");
        std::fs::create_dir(&work).unwrap();
        let mut spec = world.spec().bind(&work, "/work").current_dir("/work");
        for folder in ["/usr", "/lib", "/lib64"] {
            spec = spec.bind_read_only(folder, folder);
        }
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_AUTHOR_NAME", "A"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "A"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
            ("GIT_MERGE_AUTOEDIT", "no"),
        ] {
            spec = spec.env(name, value);
        }
        let service = supervisor.start(&spec).await.unwrap();
        Self {
            world,
            supervisor,
            service,
            work,
        }
    }

    /// The container's own git.
    fn image(&self) -> Git {
        let service = self.service.clone();
        Git::new(move |program| service.command(program).unwrap(), "/work")
    }

    /// The host's.
    fn host(&self) -> Git {
        Git::on_host(&self.work, "/work", "/work")
    }

    /// Runs a script in the container, in a directory of `/work`.
    ///
    /// `init` makes a repository with a branch `main`, `commit` commits all there is.
    async fn script(&self, directory: &str, script: &str) {
        let begin = "
            set -e
            init() { git init -q -b main \"$@\"; }
            commit() { git add -A . && git commit -q --allow-empty -m \"${1:-commit}\"; }
            write() { mkdir -p \"$(dirname \"$1\")\"; printf '%s\\n' \"${2:-$1}\" > \"$1\"; }
        ";
        let place = format!("/work/{directory}");
        let mut command = self.service.command("sh").unwrap();
        command.args([
            "-c",
            &format!("mkdir -p {place}; cd {place}\n{begin}\n{script}"),
        ]);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{}", output.stderr_text());
    }

    /// Checks that both find just these changes: a letter and a path each.
    async fn finds(&self, path: &str, reference: Option<&str>, expected: &[&str]) {
        for git in [self.image(), self.host()] {
            let changes = git.changes(path, reference).await.unwrap();
            assert_eq!(shown(&changes), expected, "{:?}", git.which().await);
        }
    }

    /// Checks that both fail so.
    async fn fails(&self, path: &str, reference: Option<&str>, is_so: fn(&GitError) -> bool) {
        for git in [self.image(), self.host()] {
            let error = git.changes(path, reference).await.unwrap_err();
            assert!(is_so(&error), "{error:?}");
        }
    }

    async fn finish(self) {
        self.service.stop().await.unwrap();
        drop((self.supervisor, self.service));
        self.world.finish();
    }
}

fn shown(changes: &[GitChange]) -> Vec<String> {
    let letter = |change: &GitChange| match change.status {
        GitStatus::Moved => "R",
        GitStatus::Added => "A",
        GitStatus::Deleted => "D",
        GitStatus::Updated => "U",
    };
    let path = |change: &GitChange| {
        change
            .path
            .as_os_str()
            .as_bytes()
            .escape_ascii()
            .to_string()
    };
    let shown = changes
        .iter()
        .map(|change| format!("{} {}", letter(change), path(change)));
    shown.collect()
}

use std::time::Instant;

use apptainer_sys::process::{Pid, Process, State};

use super::*;

/// Long enough for a shell to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory with a helper in it that is this script.
struct Script {
    directory: tempfile::TempDir,
}

impl Script {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        let place = directory.path().display();
        fs::write(&path, format!("#!/bin/sh\ncd {place}\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn helper(&self) -> Helper {
        let environment = Environment::of([("PATH", self.directory.path().as_os_str())]);
        Helper::find("test", &environment, Path::new("config.json")).unwrap()
    }

    async fn get(&self) -> Result<Option<Credential>, CredentialError> {
        self.helper().get("example.org", LIMIT).await
    }

    async fn problem(&self) -> HelperProblem {
        match self.get().await.unwrap_err() {
            CredentialError::Helper { problem, .. } => problem,
            other => panic!("{other}"),
        }
    }

    /// The pids that it has written, once there are so many.
    async fn pids(&self, number: usize) -> Vec<Pid> {
        let file = self.directory.path().join("pids");
        until(|| {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let pids: Vec<_> = text.lines().map(|line| line.parse().unwrap()).collect();
            (pids.len() == number).then_some(pids)
        })
        .await
    }
}

async fn until<T>(mut seen: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = seen() {
            return seen;
        }
        assert!(start.elapsed() < LIMIT, "it did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn has_ended(pid: Pid) -> bool {
    let process = Process::read(pid).unwrap();
    process.is_none_or(|process| process.state == State::Zombie)
}

/// A script that hangs, as does what it started, of which it is the parent no longer.
const HANGS: &str = "sleep 600 &
(sleep 600 & echo $! > orphan)
echo $$ > new; echo $! >> new; cat orphan >> new; mv new pids
wait; sleep 600";

#[tokio::test]
async fn it_is_asked_to_get_what_stands_on_its_input() {
    let script =
        Script::new(r#"printf '{"ServerURL":"s","Username":"%s","Secret":"%s"}' "$*" "$(cat)""#);
    let expected = Credential::Basic {
        username: "get".to_owned(),
        password: "example.org".into(),
    };
    assert_eq!(script.get().await.unwrap(), Some(expected));
}

#[tokio::test]
async fn one_that_does_not_read_its_input_can_answer() {
    let script = Script::new(r#"exec <&-; echo '{"Username":"<token>","Secret":"t"}'"#);
    let expected = Credential::IdentityToken("t".into());
    assert_eq!(script.get().await.unwrap(), Some(expected));
}

#[tokio::test]
async fn not_to_have_them_is_no_failure() {
    for script in [
        "echo 'credentials not found in native keychain'; exit 1",
        r#"echo '{"ServerURL":"","Username":"","Secret":""}'"#,
    ] {
        assert_eq!(Script::new(script).get().await.unwrap(), None, "{script}");
    }
}

#[tokio::test]
async fn it_says_why_it_fails() {
    for script in [
        r#"echo 'cannot open the keychain: "x"'; echo noise >&2; exit 3"#,
        "echo 'cannot open the keychain' >&2; exit 3",
    ] {
        let problem = Script::new(script).problem().await;
        let is_exit = matches!(
            problem,
            HelperProblem::Failed {
                exit: Exit::Code(3),
                ..
            }
        );
        assert!(is_exit, "{problem}");
        let message = problem.to_string();
        assert!(message.contains("cannot open the keychain"), "{message}");
    }
    let error = Script::new("exit 1").get().await.unwrap_err().to_string();
    assert!(error.contains("docker-credential-test"), "{error}");
    assert!(error.contains("example.org"), "{error}");
}

#[tokio::test]
async fn no_error_shows_what_may_be_a_secret() {
    for script in [
        r#"set -x; secret=hunter2; echo "{\"Username\":\"u\",\"Secret\":\"$secret\"}"; exit 1"#,
        r#"echo '{"Username":"u","Secret":"hunter2"'"#,
        r#"echo '{"Username":"u","Secret":["hunter2"]}'"#,
        "echo hunter2",
    ] {
        let error = Script::new(script).get().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn one_that_writes_without_end_is_killed() {
    for script in [
        "echo $$ > pids; exec head -c 10000000 /dev/zero",
        "echo $$ > pids; exec cat /dev/zero",
    ] {
        let script = Script::new(script);
        let problem = script.problem().await;
        assert!(
            matches!(problem, HelperProblem::TooLong { .. }),
            "{problem}"
        );
        assert!(has_ended(script.pids(1).await[0]));
    }
}

#[tokio::test]
async fn what_it_says_aside_is_not_counted() {
    let script = Script::new(
        r#"head -c 10000000 /dev/zero >&2; echo '{"Username":"<token>","Secret":"t"}'"#,
    );
    let expected = Credential::IdentityToken("t".into());
    assert_eq!(script.get().await.unwrap(), Some(expected));
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_that_it_started() {
    let script = Script::new(HANGS);
    let limit = Duration::from_secs(5);
    let error = script.helper().get("example.org", limit).await.unwrap_err();
    let is_timeout = matches!(
        error,
        CredentialError::Helper {
            problem: HelperProblem::TimedOut { .. },
            ..
        }
    );
    assert!(is_timeout, "{error}");
    for pid in script.pids(3).await {
        assert!(has_ended(pid), "{pid}");
    }
}

#[tokio::test]
async fn nobody_who_waits_no_longer_leaves_one_behind() {
    let script = Script::new(HANGS);
    let helper = script.helper();
    let asked = tokio::spawn(async move { helper.get("example.org", LIMIT).await });
    let pids = script.pids(3).await;
    assert!(!pids.iter().copied().any(has_ended));
    asked.abort();
    until(|| pids.iter().copied().all(has_ended).then_some(())).await;
}

#[tokio::test]
async fn an_answer_counts_though_something_holds_the_pipe() {
    let script = Script::new(
        r#"sleep 600 &
echo $! > new; mv new pids
echo '{"Username":"<token>","Secret":"t"}'"#,
    );
    let expected = Credential::IdentityToken("t".into());
    assert_eq!(script.get().await.unwrap(), Some(expected));
    // An agent that it started for later is left alone.
    let [agent] = script.pids(1).await[..] else {
        panic!("one pid");
    };
    assert!(!has_ended(agent));
    let agent = apptainer_sys::process::PidFd::open(agent).unwrap();
    agent.signal(apptainer_sys::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn one_that_cannot_be_run_is_told() {
    let script = Script::new("");
    let program = script.directory.path().join("docker-credential-test");
    fs::write(&program, "#!/nowhere/interpreter\n").unwrap();
    let problem = script.problem().await;
    assert!(matches!(problem, HelperProblem::Spawn(_)), "{problem}");
}

#[test]
fn one_that_is_missing_is_told_with_the_file_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("docker-credential-file");
    fs::write(&file, "").unwrap();
    fs::create_dir(directory.path().join("docker-credential-directory")).unwrap();
    let environment = Environment::of([("PATH", directory.path().as_os_str())]);
    let find = |name| Helper::find(name, &environment, Path::new("/home/config.json"));
    for name in ["none", "file", "directory", ""] {
        let error = find(name).unwrap_err();
        assert!(matches!(error, CredentialError::HelperMissing { .. }));
        assert!(error.to_string().contains("/home/config.json"), "{error}");
    }
    for name in ["../evil", "/bin/sh", "a\0"] {
        let error = find(name).unwrap_err();
        assert!(
            matches!(error, CredentialError::HelperName { .. }),
            "{error}"
        );
    }
}

#[test]
fn directories_that_are_relative_are_not_looked_in() {
    let directory = tempfile::tempdir_in(".").unwrap();
    let relative = Path::new(directory.path().file_name().unwrap());
    let program = relative.join("docker-credential-test");
    fs::write(&program, "").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(
        on_path("docker-credential-test", relative.as_os_str()),
        None
    );
    let absolute = std::path::absolute(relative).unwrap();
    assert!(on_path("docker-credential-test", absolute.as_os_str()).is_some());
}

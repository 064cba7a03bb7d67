//! OpenHands' SDK in a process of Python, which takes the time itself.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde_json::{Value, json};

pub(crate) struct Python {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<std::io::PipeReader>,
}

impl Python {
    /// Starts it, and waits until it has imported what it needs.
    pub(crate) fn start() -> Self {
        let (answers, theirs) = std::io::pipe().expect("there are descriptors left");
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty())).expect("it is open");
        let child = Command::new(fixtures::OpenHands::find().python())
            .args(["-c", include_str!("client.py")])
            .arg(theirs.as_raw_fd().to_string())
            .envs([
                ("OPENHANDS_SUPPRESS_BANNER", "1"),
                ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
                ("OH_ENABLE_VSCODE", "false"),
                ("OH_PRELOAD_TOOLS", "false"),
                ("no_proxy", "*"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut child = child.expect("it is installed");
        let requests = child.stdin.take();
        let mut python = Self {
            child,
            requests,
            answers: BufReader::new(answers),
        };
        drop(theirs);
        python.answer();
        python
    }

    pub(crate) fn connect(&mut self, name: &str, host: &str, key: Option<&str>, folder: &str) {
        self.ask(
            &json!({"do": "connect", "name": name, "host": host, "key": key, "folder": folder}),
        );
    }

    /// Runs a line, in milliseconds.
    pub(crate) fn execute(&mut self, name: &str, line: &str) -> f64 {
        self.ask(&json!({"do": "execute", "name": name, "line": line}))
    }

    /// Does one thing, and says how many milliseconds it took.
    pub(crate) fn ask(&mut self, request: &Value) -> f64 {
        let requests = self.requests.as_mut().expect("it is open until the end");
        writeln!(requests, "{request}").expect("it reads");
        let answer = self.answer();
        let took = answer["took"][0].as_f64();
        took.expect("it tells of each time") * 1e3
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it can be read");
        serde_json::from_str(&line).expect("it answers, unless something is wrong")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        self.requests = None;
        let _ = self.child.wait();
    }
}

//! Programs that supervise, and are killed: this one again, with what they are to do in their
//! environment.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use apptainer::Apptainer;
use apptainer::instance::Spec;
use fixtures::World;

const FOLDER: &str = "APPTAINER_TESTS_FOLDER";
const NAME: &str = "APPTAINER_TESTS_NAME";
const SPECS: &str = "APPTAINER_TESTS_SPECS";
const THEN: &str = "APPTAINER_TESTS_THEN";

/// What a program does with each of its instances, once they run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Pause,
    /// Runs `sleep` with this mark in it.
    Sleep(String),
}

/// One of them.
pub(super) struct Program {
    process: Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Program {
    /// Starts one with a supervisor of this name, which starts these instances.
    pub(super) fn start(world: &World, name: &str, specs: &[Spec], then: &Then) -> Self {
        let then = match then {
            Then::Nothing => "nothing",
            Then::Pause => "pause",
            Then::Sleep(tag) => tag,
        };
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["supervisor::program::supervise", "--exact", "--ignored"])
            .arg("--nocapture")
            .env(FOLDER, world.folder())
            .env(NAME, name)
            .env(SPECS, serde_json::to_string(specs).unwrap())
            .env(THEN, then)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        Self {
            process,
            said: BufReader::new(stdout).lines(),
        }
    }

    /// The same, once its instances run.
    pub(super) fn running(world: &World, name: &str, specs: &[Spec], then: &Then) -> Self {
        let mut program = Self::start(world, name, specs, then);
        program.until_said("running");
        program
    }

    pub(super) fn until_said(&mut self, wanted: &str) {
        for line in self.said.by_ref() {
            // The test harness writes before it, without ending its line.
            if line.unwrap().ends_with(wanted) {
                return;
            }
        }
        panic!("it ended without saying {wanted:?}");
    }

    pub(super) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Not a test: what is killed.
#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn supervise() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let variable = |name| env::var(name).unwrap();
    let builder = Apptainer::builder()
        .config_dir(folder.join("config"))
        .store_dir(folder.join("store"));
    let client = builder.build().await.unwrap();
    let supervisor = client
        .supervisor(variable(NAME))
        .runtime_dir(folder.join("runtime"));
    let supervisor = supervisor.open().await.unwrap();
    let specs: Vec<Spec> = serde_json::from_str(&variable(SPECS)).unwrap();
    println!("begun");
    let mut children = Vec::new();
    for spec in &specs {
        let service = supervisor.start(spec).await.unwrap();
        service.ready().await.unwrap();
        match variable(THEN).as_str() {
            "nothing" => {}
            "pause" => drop(service.pause().await.unwrap()),
            mark => {
                let mut command = service.command("sleep").unwrap();
                children.push(command.arg(mark).spawn().await.unwrap());
            }
        }
    }
    println!("running");
    std::future::pending::<()>().await;
}

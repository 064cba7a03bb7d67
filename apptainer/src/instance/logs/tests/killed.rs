//! Keepers that are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use apptainer_sys::process::Signal;

use super::super::rotate::Rotation;
use super::super::turn::Turn;
use super::super::{LogSettings, keep};
use super::{Halts, Logs, Writer, numbered};

const SIZE: u64 = 128 * 1024;
const FOLDER: &str = "TEST_LOGS_FOLDER";
const WRITER: &str = "TEST_LOGS_WRITER";

#[tokio::test]
#[ignore = "killed_at_any_moment_keepers_lose_nothing runs it, to kill it"]
async fn keeps_until_it_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("it is run by another test");
    let pid = std::env::var(WRITER).unwrap().parse().unwrap();
    let logs = ["x.out", "x.err"].map(|name| Path::new(&folder).join(name));
    let settings = LogSettings::default()
        .max_size(SIZE)
        .max_files(1000)
        .timestamps(true);
    let _keeper = keep(&settings, logs, Arc::new(Halts { pid })).unwrap();
    std::future::pending::<()>().await;
}

fn keeper(folder: &Path, writer: &Writer) -> Child {
    let program: PathBuf = std::env::current_exe().unwrap();
    let test = "instance::logs::tests::killed::keeps_until_it_is_killed";
    let mut command = Command::new(program);
    command
        .args(["--ignored", "--exact", test])
        .env(FOLDER, folder)
        .env(WRITER, writer.pid().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.spawn().unwrap()
}

#[tokio::test]
async fn killed_at_any_moment_keepers_lose_nothing() {
    for logs in [Logs::new(), Logs::in_memory()] {
        let writer = Writer::endless(&logs);
        let mut is_rotated = false;
        for round in 0..15 {
            let mut keeper = keeper(logs.folder.path(), &writer);
            tokio::time::sleep(Duration::from_millis(60 + round * 7)).await;
            keeper.kill().unwrap();
            keeper.wait().unwrap();
            is_rotated |= logs.out().rotated(1).exists();
            if round % 2 == 0 {
                // Whoever finds the writer halted may let it go on.
                writer.halt().signal(Signal::CONT).unwrap();
            }
        }
        assert!(is_rotated);
        let mut rotation = Rotation::new(&logs.out(), SIZE, 1000);
        let halt: Arc<dyn super::Halt> = writer.halt();
        assert!(rotation.rotate(&halt).await.unwrap());
        drop(writer);
        let turn = Turn::new(&logs.out(), 1000).unwrap().unwrap();
        assert_eq!(turn.pending().unwrap(), None);
        let text = String::from_utf8(logs.files().concat()).unwrap();
        let count = u32::try_from(text.lines().count()).unwrap();
        assert!(
            text == numbered(0..count),
            "lines are missing, or there twice"
        );
    }
}

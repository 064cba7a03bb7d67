//! A key typed at a terminal, and its echo.
//!
//! The terminal itself neither echoes nor waits for lines: what comes back has been read
//! and written by the program at it.

use std::io::{Read, Write};
use std::process::Stdio;

use apptainer::exec::{ChildTerminal, WindowSize};
use apptainer::sys::process::Pty;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use crate::ours::Ours;
use crate::subject::{Subject, Work, on_host};

const KEY: u8 = b'k';

/// What the program says when the terminal has been set up.
const READY: u8 = b'r';

/// What runs at the terminal.
fn args() -> [String; 3] {
    let busybox = on_host();
    let script = format!("{busybox} stty raw -echo; printf r; exec {busybox} cat");
    ["sh".to_owned(), "-c".to_owned(), script]
}

/// At a terminal of the host's.
pub(crate) struct OnHost {
    terminal: AsyncFd<Pty>,
    /// Dropped, it is killed.
    _program: Child,
}

impl OnHost {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; this one's does not"
    )]
    pub(crate) async fn start() -> Self {
        let pty = Pty::open(WindowSize::default()).expect("there are terminals");
        let stream = || Stdio::from(pty.terminal().expect("it has just been made"));
        let mut program = Command::new(on_host());
        program.args(args()).kill_on_drop(true);
        program.stdin(stream()).stdout(stream()).stderr(stream());
        let started = program.spawn().expect("the program is installed");
        drop(program);
        let pty = Pty::from_controller(pty.into()).expect("it is a terminal");
        let terminal = AsyncFd::new(pty).expect("it can be watched");
        let on_host = Self {
            terminal,
            _program: started,
        };
        assert_eq!(on_host.read().await, READY);
        on_host
    }

    async fn read(&self) -> u8 {
        let mut shown = [0; 1];
        loop {
            let mut ready = self.terminal.readable().await.expect("it is watched");
            if let Ok(read) = ready.try_io(|pty| pty.get_ref().read(&mut shown)) {
                assert_eq!(read.expect("the program is at the terminal"), 1);
                return shown[0];
            }
        }
    }
}

impl Subject for OnHost {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            let typed = self.terminal.get_ref().write(&[KEY]);
            assert_eq!(typed.expect("the program is at the terminal"), 1);
            assert_eq!(self.read().await, KEY);
        })
    }
}

/// At a terminal in a container.
pub(crate) struct InContainer {
    terminal: Mutex<ChildTerminal>,
    /// Dropped, they are killed.
    _program: apptainer::Child,
    _place: Ours,
}

impl InContainer {
    pub(crate) async fn start(place: Ours) -> Self {
        let mut command = place.command(&args());
        command.terminal(WindowSize::default());
        let mut program = command.spawn().await.expect("the program is there");
        let mut terminal = program.terminal.take().expect("it was asked for");
        let said = terminal.read_u8().await;
        assert_eq!(said.expect("the program is at the terminal"), READY);
        Self {
            terminal: Mutex::new(terminal),
            _program: program,
            _place: place,
        }
    }
}

impl Subject for InContainer {
    fn run_once(&self) -> Work<'_, ()> {
        Box::pin(async {
            let mut terminal = self.terminal.lock().await;
            let typed = terminal.write_all(&[KEY]).await;
            typed.expect("the program is at the terminal");
            let shown = terminal.read_u8().await;
            assert_eq!(shown.expect("the program is at the terminal"), KEY);
        })
    }
}

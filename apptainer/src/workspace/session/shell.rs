//! The shell of a session, and what is said to it.
//!
//! It is told what to do at its standard input, in lines of ours, by which it reads the caller's
//! from its side channel, descriptor 3, and runs those with `eval`. On that channel it also says
//! how that went. So a line of the caller's is nowhere quoted, may be of any length, and reads
//! nothing of what is meant for the shell.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apptainer_sys::process::Signal;
use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::output::Outputs;
use crate::Child;
use crate::exec::{ChildStdin, Chunk, ExecError};

/// What a shell is told first: to show no prompts, to read no more than it has to, and how to get
/// lines and say how they went. `SIGTERM` ends it, which an interactive shell does not heed, and an
/// interrupt is heeded only while it runs a line: so none hits what it is told by us. What an
/// interrupt or, but for bash, a wrong line has cut off, has set no status. Bash may have lost the
/// first letters of what is said to it next then.
pub(super) const BEGIN: &str = r#"PS1= PS2=
unset HISTFILE PROMPT_COMMAND MAILCHECK
trap 'exit 143' TERM; trap '' INT
test -z "$BASH_VERSION" || set +H +o emacs +o vi
__status=0
__get() { __line=; printf 'g\0' >&3; while test "$1" -gt 0; do IFS= read -r __next <&3 || exit
__line=$__line$__next'
'; set -- $(($1 - 1)); done; __last=$__status; __status=; trap - INT; printf 'r\0' >&3; return $__last; }
__tell() { __last=$?; trap '' INT; test -z "$BASH_VERSION" || __last=130
test -n "$__status" || __status=$__last; printf 'p%s %s\0' "$1" "$__status" >&3; }
"#;

/// A shell, and the ends of all that it has.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) child: Arc<Mutex<Child>>,
    pub(super) channel: UnixStream,
    pub(super) heard: BytesMut,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) outputs: Outputs,
    /// What has yet to be said to it.
    to_stdin: BytesMut,
    to_channel: BytesMut,
    /// How far it is with the line that it was last given.
    pub(super) progress: Arc<Progress>,
    /// What it is given when it asks for it.
    lines: BytesMut,
    /// When to ask again, and how often.
    again: Option<(Instant, u8)>,
    /// Whether an interrupt may be on its way that was meant for a line that has ended.
    pub(super) is_haunted: bool,
}

/// How far a shell is with a line, for all who may interrupt it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    line: Mutex<Line>,
    /// Wakes who drives the shell.
    interrupted: Notify,
}

#[derive(Debug, Default)]
struct Line {
    /// Its number.
    number: u64,
    /// Whether it has not ended.
    is_busy: bool,
    /// Whether it heeds interrupts by now.
    runs: bool,
    is_interrupted: bool,
}

impl Progress {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.line().is_busy
    }

    /// Interrupts the line that it runs, if it does: as soon as that heeds it, which takes somebody
    /// to drive the shell.
    pub(super) fn interrupt(&self, child: &Mutex<Child>) -> Result<(), ExecError> {
        let mut line = self.line();
        if !line.is_busy {
            return Ok(());
        }
        line.is_interrupted = true;
        self.interrupted.notify_one();
        if line.runs { signal(child) } else { Ok(()) }
    }
}

fn signal(child: &Mutex<Child>) -> Result<(), ExecError> {
    let child = child.lock().unwrap_or_else(PoisonError::into_inner);
    child.signal_group(Signal::INT)
}

/// How long after an interrupt it is asked again how that went. What it had just read may be lost
/// by it.
const PAUSE: Duration = Duration::from_millis(100);

/// What happens to a shell.
#[derive(Debug)]
pub(super) enum Event {
    /// It has written something.
    Wrote(Chunk),
    /// The line has ended, with this code.
    Ended(i32),
    /// It is gone.
    Gone,
}

impl Shell {
    pub(super) fn new(
        child: Arc<Mutex<Child>>,
        channel: UnixStream,
        stdin: Option<ChildStdin>,
        outputs: Outputs,
    ) -> Self {
        Self {
            child,
            channel,
            heard: BytesMut::new(),
            stdin,
            outputs,
            to_stdin: BytesMut::new(),
            to_channel: BytesMut::new(),
            progress: Arc::default(),
            lines: BytesMut::new(),
            again: None,
            is_haunted: false,
        }
    }

    /// Has it begin.
    pub(super) fn begin(&mut self) {
        self.to_stdin.extend_from_slice(BEGIN.as_bytes());
        self.ask();
        self.progress.line().is_busy = true;
    }

    /// Gives it lines to run.
    pub(super) fn give(&mut self, lines: &[u8]) {
        let number = self.progress.line().number + 1;
        *self.progress.line() = Line {
            number,
            is_busy: true,
            ..Line::default()
        };
        self.again = None;
        self.lines.clear();
        self.lines.extend_from_slice(lines);
        self.lines.extend_from_slice(b"\n");
        let count = self.lines[..].split(|byte| *byte == b'\n').count() - 1;
        let line = format!(
            "__get {count}; eval \"$__line\" </dev/null 3>&-; \
             __status=$?; trap '' INT\n"
        );
        self.to_stdin.extend_from_slice(line.as_bytes());
    }

    /// Asks how the last line went. It is read when that has ended.
    pub(super) fn ask(&mut self) {
        let line = format!("__tell {}\n", self.progress.line().number);
        self.to_stdin.extend_from_slice(line.as_bytes());
    }

    fn ask_again(&mut self) {
        let left = self.again.take().map_or(0, |(_, left)| left - 1);
        if self.progress.is_busy() {
            self.to_stdin.extend_from_slice(b"\n");
            self.ask();
            self.again = (left > 0).then(|| (Instant::now() + PAUSE, left));
        }
    }

    /// Interrupts the line that it runs until that has ended, and forgets what that writes; says
    /// whether it is still there. Cancel-safe.
    pub(super) async fn give_up(&mut self) -> io::Result<bool> {
        /// How long a line has for it.
        const MOMENT: Duration = Duration::from_millis(500);
        while self.progress.is_busy() {
            let interrupted = self.progress.interrupt(&self.child);
            interrupted.map_err(io::Error::other)?;
            let ended = async {
                loop {
                    match self.next().await? {
                        Event::Gone => return io::Result::Ok(false),
                        Event::Ended(_) => {
                            self.outputs.take();
                            return Ok(true);
                        }
                        Event::Wrote(_) => {}
                    }
                }
            };
            // One may get lost: see `Session::interrupt`.
            if let Ok(ended) = tokio::time::timeout(MOMENT, ended).await {
                return ended;
            }
        }
        Ok(true)
    }

    /// Says what there is to say, and hears what there is to hear, until something happens.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<Event> {
        loop {
            if let Some(event) = self.take_event()? {
                return Ok(event);
            }
            let ended = {
                let child = self.child.lock();
                let child = child.unwrap_or_else(std::sync::PoisonError::into_inner);
                child.watch().map_err(io::Error::other)?
            };
            let again = self.again.map_or_else(Instant::now, |(when, _)| when);
            tokio::select! {
                biased;
                ready = self.channel.readable() => {
                    ready?;
                    match self.channel.try_read_buf(&mut self.heard) {
                        Ok(0) => return Ok(Event::Gone),
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return gone(error),
                        _ => {}
                    }
                }
                ready = self.channel.writable(), if !self.to_channel.is_empty() => {
                    ready?;
                    match self.channel.try_write(&self.to_channel) {
                        Ok(written) => self.to_channel.advance(written),
                        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return gone(error),
                        Err(_) => {}
                    }
                }
                chunk = self.outputs.next() => {
                    if let Some(chunk) = chunk? {
                        return Ok(Event::Wrote(chunk));
                    }
                }
                written = write(self.stdin.as_mut(), &self.to_stdin), if !self.to_stdin.is_empty() => {
                    match written {
                        Ok(written) => self.to_stdin.advance(written),
                        Err(error) => return gone(error),
                    }
                }
                ended = ended => {
                    ended?;
                    return Ok(Event::Gone);
                }
                () = self.progress.interrupted.notified() => {
                    if self.progress.line().is_interrupted {
                        self.again = Some((Instant::now() + PAUSE, 5));
                    }
                }
                () = tokio::time::sleep_until(again), if self.again.is_some() => {
                    self.ask_again();
                }
            }
        }
    }

    /// What it has said, and not yet been heard.
    fn take_event(&mut self) -> io::Result<Option<Event>> {
        while let Some(end) = self.heard.iter().position(|byte| *byte == 0) {
            let said = self.heard.split_to(end + 1);
            match (said[0], std::str::from_utf8(&said[1..end])) {
                (b'g', _) => {
                    self.to_channel.unsplit(self.lines.split());
                    // It does not read this before the lines have ended, whatever ends them.
                    self.ask();
                }
                (b'r', _) => {
                    let mut line = self.progress.line();
                    line.runs = true;
                    if line.is_interrupted {
                        signal(&self.child).map_err(io::Error::other)?;
                    }
                }
                (b'p', Ok(text)) => {
                    let mut words = text.split(' ').map(str::parse::<i64>);
                    let (Some(Ok(number)), Some(Ok(code))) = (words.next(), words.next()) else {
                        return Err(io::ErrorKind::InvalidData.into());
                    };
                    let mut line = self.progress.line();
                    if number.cast_unsigned() == line.number && line.is_busy {
                        line.is_busy = false;
                        self.is_haunted |= line.is_interrupted;
                        let code = i32::try_from(code).unwrap_or(-1);
                        return Ok(Some(Event::Ended(code)));
                    }
                }
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
        Ok(None)
    }
}

async fn write(stdin: Option<&mut ChildStdin>, bytes: &[u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.write(bytes).await,
        None => Err(io::ErrorKind::BrokenPipe.into()),
    }
}

/// What it means that nobody is at the other end any more.
fn gone(error: io::Error) -> io::Result<Event> {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(Event::Gone),
        _ => Err(error),
    }
}

/// What a shell is started with so that it is interactive, has no job control, and reads no file.
pub(super) fn arguments(shell: &Path) -> &'static [&'static str] {
    match shell.file_name().and_then(OsStr::to_str) {
        Some("bash") => &["--norc", "--noprofile", "--noediting", "-i", "+m"],
        _ => &["-i", "+m"],
    }
}

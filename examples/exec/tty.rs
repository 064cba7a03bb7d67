//! A command at a terminal of its own, joined to that of whoever runs this program.
//!
//! Ours is in raw mode meanwhile: it neither echoes nor edits, nor makes signals of keys. All
//! of that the command's own terminal does. What size ours is, that one is made.

use std::error::Error;
use std::io::Stdin;
use std::time::Duration;

use apptainer::exec::{TerminalReader, TerminalWriter, WindowSize};
use apptainer::{Child, Command, ExitStatus};
use examples::Signals;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};

/// Our terminal in raw mode. Dropped, it is what it was before; also in a panic.
struct Raw {
    terminal: Stdin,
    before: Termios,
}

impl Raw {
    fn enter() -> Result<Self, rustix::io::Errno> {
        let terminal = std::io::stdin();
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Drain, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// Our terminal's size.
fn size() -> Result<WindowSize, rustix::io::Errno> {
    let size = tcgetwinsize(std::io::stdin())?;
    Ok(WindowSize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// How long what the command has left in the background may go on showing something.
const GRACE: Duration = Duration::from_millis(250);

/// Runs a command so, and waits for it.
pub(crate) async fn run(
    command: &mut Command,
    signals: &mut Signals,
) -> Result<ExitStatus, Box<dyn Error>> {
    let size = size().map_err(|_| "with --tty, standard input has to be a terminal")?;
    let mut child = command.terminal(size).spawn().await?;
    let terminal = child.terminal.take().expect("it was asked for");
    let (reader, writer) = terminal.into_split();
    let _raw = Raw::enter()?;
    let showing = tokio::spawn(show(reader));
    let status = attend(&mut child, writer, signals).await?;
    if let Ok(shown) = tokio::time::timeout(GRACE, showing).await {
        shown??;
    }
    Ok(status)
}

/// Copies what the command's terminal shows to ours, until nothing has that open any more.
async fn show(mut reader: TerminalReader) -> std::io::Result<()> {
    let mut ours = stdout();
    let mut shown = vec![0; 16 * 1024];
    loop {
        let length = reader.read(&mut shown).await?;
        if length == 0 {
            return Ok(());
        }
        ours.write_all(&shown[..length]).await?;
        ours.flush().await?;
    }
}

/// Passes on what is typed, what size our terminal has, and signals, until the command ends.
async fn attend(
    child: &mut Child,
    mut writer: TerminalWriter,
    signals: &mut Signals,
) -> Result<ExitStatus, Box<dyn Error>> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut keys = stdin();
    let mut typed = vec![0; 4096];
    let mut unsent = Vec::new();
    let mut is_over = false;
    loop {
        // Signals go to the command when nobody waits for it.
        let passed_on = tokio::select! {
            status = child.wait() => return Ok(status?),
            read = keys.read(&mut typed), if unsent.is_empty() && !is_over => {
                unsent.extend_from_slice(&typed[..read?]);
                is_over = unsent.is_empty();
                continue;
            }
            written = writer.write(&unsent), if !unsent.is_empty() => {
                unsent.drain(..written?);
                continue;
            }
            _ = resized.recv() => {
                writer.resize(size()?)?;
                continue;
            }
            signal = signals.next() => signal,
        };
        child.signal(passed_on)?;
    }
}

//! Making a link over a stream.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::task::AbortHandle;

use super::Mux;
use super::channels::{Channels, Loss};
use super::frames::{Broken, Frames};
use crate::exec::link::control::is_gone;
use crate::exec::link::frame::{Header, Kind};
use crate::exec::link::launch::token;
use crate::exec::link::protocol::{Hello, Orphans, Reply, Request, VERSION};
use crate::exec::link::transport::Transport;
use crate::exec::link::{Link, LinkError, program};

/// How long what the agent has said is listened to when nothing can be sent to it any more.
const PATIENCE: Duration = Duration::from_secs(1);

impl Link {
    /// A link to an agent that somebody else has started, at the other end of a stream of
    /// bytes: on another machine, in another allocation of a cluster, behind anything that
    /// passes bytes on. `reader` is what the agent writes, `writer` what it reads.
    ///
    /// The agent is a program of 64 KiB or less, [`agent_program`](Self::agent_program),
    /// that is copied to where it is to run, and run with the argument `stream`:
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::process::Stdio;
    /// use apptainer::Link;
    ///
    /// // Somewhere that both machines see, and the container too.
    /// let agent = "/home/me/.cache/apptainer-agent";
    /// let program = Link::agent_program().ok_or("there is no agent for this processor")?;
    /// std::fs::write(agent, program)?;
    /// std::fs::set_permissions(agent, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    ///
    /// let mut ssh = tokio::process::Command::new("ssh")
    ///     .args(["node17", "apptainer", "exec", "/scratch/image.sif", agent, "stream"])
    ///     .stdin(Stdio::piped())
    ///     .stdout(Stdio::piped())
    ///     .spawn()?;
    /// let (Some(reader), Some(writer)) = (ssh.stdout.take(), ssh.stdin.take()) else {
    ///     return Err("they are piped".into());
    /// };
    /// let link = Link::over(reader, writer).await?;
    /// let output = link.command("hostname").output().await?;
    /// println!("{}", String::from_utf8_lossy(&output.stdout));
    /// link.close().await?;
    /// ssh.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Commands are as over any link, but for this: their streams are
    /// [null](crate::Stdio::null) or [piped](crate::Stdio::piped), and what is inherited or a
    /// descriptor is [refused](crate::exec::ExecError::NotCarried). So
    /// [`spawn`](crate::Command::spawn) and [`status`](crate::Command::status), whose streams
    /// are inherited otherwise, need them set. A command whose pipes nobody reads holds up
    /// itself and no other: 256 KiB of each stream are kept here.
    ///
    /// The agent ends when the stream does, and with it all that it has started. Whatever
    /// carries the bytes is the caller's to wait for, after [`close`](Self::close).
    ///
    /// The link lives as long as the tokio runtime that made it, in which two tasks read and
    /// write for it. It may be used in others. There is no limit to how long the agent may
    /// take to answer: where there is to be one, use `tokio::time::timeout`. Dropping the
    /// future drops `reader` and `writer`.
    ///
    /// # Errors
    ///
    /// [`NoAgent`](LinkError::NoAgent) where the stream ends, or what comes is not what an
    /// agent says (what a shell prints when somebody logs in comes to mind),
    /// [`Version`](LinkError::Version) where it is one of another version of this crate. Later,
    /// [`Lost`](LinkError::Lost) when the stream ends and
    /// [`Malformed`](LinkError::Malformed) when something else comes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn over<R, W>(reader: R, mut writer: W) -> Result<Self, LinkError>
    where
        R: AsyncRead + Send + Unpin + 'static,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let mut frames = Frames::new(reader);
        say_hello(&mut writer).await?;
        hear_welcome(&mut frames).await?;
        let channels = Arc::new(Channels::default());
        let ending = Ending(Arc::clone(&channels));
        let reading = tokio::spawn(async move {
            let loss = read(frames, &ending.0).await;
            ending.0.end(loss);
        });
        let reading = reading.abort_handle();
        let ending = Ending(Arc::clone(&channels));
        let writing = tokio::spawn(write(writer, ending, reading.clone()));
        let mux = Mux::new(channels, [reading, writing.abort_handle()]);
        let transport = Transport::Stream(Arc::new(mux));
        Ok(Self { transport })
    }

    /// The program that [`over`](Self::over) wants at the other end, for processors of this
    /// machine's kind; `None` where there is none, which is on all but x86-64 and 64-bit ARM.
    ///
    /// It needs nothing but a Linux kernel, so that it runs in any image.
    pub fn agent_program() -> Option<&'static [u8]> {
        program::PROGRAM
    }
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> LinkError {
    move |source| LinkError::Io { doing, source }
}

async fn say_hello(writer: &mut (impl AsyncWrite + Unpin)) -> Result<(), LinkError> {
    let hello = Hello {
        oldest: VERSION,
        newest: VERSION,
        orphans: Orphans::Kill,
        token: token().map_err(io_error("name the exec agent"))?,
    };
    let mut message = Vec::with_capacity(64);
    Request::Hello(hello).encode(&mut message);
    let header = Header {
        channel: 0,
        kind: Kind::Message,
        length: u32::try_from(message.len()).unwrap_or(u32::MAX),
    };
    let frame = [&header.encode()[..], &message].concat();
    let said = async {
        writer.write_all(&frame).await?;
        writer.flush().await
    };
    match said.await {
        // What came before that, or did not, tells more.
        Err(error) if is_gone(&error) => Ok(()),
        said => said.map_err(io_error("say hello to the exec agent")),
    }
}

async fn hear_welcome(frames: &mut Frames<impl AsyncRead + Unpin>) -> Result<(), LinkError> {
    let no_agent = |reason: &str| LinkError::NoAgent {
        reason: reason.to_owned(),
    };
    let stranger = || no_agent("what answers does not speak the protocol");
    let (header, message) = frames.next().await.map_err(|broken| match broken {
        Broken::Ended => no_agent("the stream ended before it answered"),
        Broken::Malformed => stranger(),
        Broken::Io(error) => io_error("listen to the exec agent")(error),
    })?;
    match Reply::decode(&message) {
        Ok(Reply::Welcome(welcome)) if header.channel == 0 && welcome.version == VERSION => Ok(()),
        Ok(Reply::Refused { oldest, newest }) => Err(LinkError::Version { oldest, newest }),
        _ => Err(stranger()),
    }
}

/// What a task holds as long as it goes on; it ends the link with itself, also where its
/// runtime ends.
struct Ending(Arc<Channels>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Loss::Ended);
    }
}

/// Takes in what comes, until that is no more.
async fn read(mut frames: Frames<impl AsyncRead + Unpin>, channels: &Channels) -> Loss {
    loop {
        let taken = match frames.next().await {
            Ok((header, payload)) => channels.take(header, payload),
            Err(broken) => Err(broken),
        };
        if let Err(broken) = taken {
            return broken.into();
        }
    }
}

/// Sends what is to be sent, until the link is no more.
async fn write(mut writer: impl AsyncWrite + Unpin, ending: Ending, reading: AbortHandle) {
    if let Err(error) = ending.0.outbox.send(&mut writer).await {
        tracing::debug!(%error, "nothing can be sent to an exec agent any more");
        ending.0.outbox.close();
        // What it has said before may still be on its way.
        tokio::time::sleep(PATIENCE).await;
    }
    reading.abort();
}

//! The caller's ends of a command's streams.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use apptainer_sys::process::WindowSize;

use super::link::{Channel, ChannelInput, ChannelOutput};
use super::{ChildStderr, ChildStdin, ChildStdout, ChildTerminal};

/// The caller's ends of a command's streams, of those that have one.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    pub(super) terminal: Option<ChildTerminal>,
}

impl Ends {
    /// These pipes, or this terminal.
    pub(super) fn local(
        [stdin, stdout, stderr]: [Option<OwnedFd>; 3],
        terminal: Option<OwnedFd>,
    ) -> io::Result<Self> {
        Ok(Self {
            stdin: stdin.map(ChildStdin::new).transpose()?,
            stdout: stdout.map(ChildStdout::new).transpose()?,
            stderr: stderr.map(|fd| ChildStderr::new(fd, None)).transpose()?,
            terminal: terminal.map(ChildTerminal::new).transpose()?,
        })
    }

    /// What this channel carries: a terminal of that size, or these streams.
    pub(super) fn carried(
        channel: &Arc<Channel>,
        [stdin, stdout, stderr]: [bool; 3],
        terminal: Option<WindowSize>,
    ) -> Self {
        if let Some(size) = terminal {
            return Self {
                terminal: Some(ChildTerminal::of_channel(channel, size)),
                ..Self::default()
            };
        }
        let channel = || Arc::clone(channel);
        Self {
            stdin: stdin.then(|| ChildStdin::of_channel(ChannelInput::new(channel()))),
            stdout: stdout.then(|| ChildStdout::of_channel(ChannelOutput::stdout(channel()))),
            stderr: stderr.then(|| ChildStderr::of_channel(ChannelOutput::stderr(channel()))),
            terminal: None,
        }
    }
}

//! From a command to the message that asks for it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use apptainer_sys::process::WindowSize;

use super::protocol::{self, Limit, Limits, MAX_MESSAGE, MAX_WORDS, Request, Sink, Spawn, flags};
use crate::exec::command::Description;

/// A message that asks for a command.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    /// The command's words, where they do not fit into it.
    pub(super) words: Option<Vec<u8>>,
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// What is asked for besides what the command is.
pub(super) struct Manner {
    /// Whether to be told when it runs.
    pub(super) reports_start: bool,
    /// Whether it ends when nobody holds it any more.
    pub(super) ends_with_caller: bool,
    /// Which of its streams frames carry.
    pub(super) is_piped: [bool; 3],
}

/// What a message holds besides words takes less than this.
const REST: usize = 512;

/// Puts a command into words.
pub(super) fn encode(command: &Description, manner: &Manner) -> io::Result<Message> {
    let mut words = Vec::with_capacity(256);
    let mut word = |parts: &[&OsStr]| {
        for part in parts {
            words.extend_from_slice(part.as_bytes());
        }
        words.push(0);
    };
    let directory = command.current_dir.as_deref();
    word(&[directory.map_or(OsStr::new(""), |path| path.as_os_str())]);
    word(&[&command.program]);
    command.args.iter().for_each(|arg| word(&[arg]));
    // A shell sets this one, and so does `apptainer exec --cwd`.
    let is_pwd = |(name, _): &&(std::ffi::OsString, _)| name == "PWD";
    let follows = directory
        .filter(|path| path.is_absolute() && !command.env.iter().any(|pair| is_pwd(&pair)));
    let mut set = 0;
    if let Some(path) = follows {
        word(&[OsStr::new("PWD="), path.as_os_str()]);
        set += 1;
    }
    for (name, value) in &command.env {
        if let Some(value) = value {
            word(&[name, OsStr::new("="), value]);
            set += 1;
        }
    }
    let mut removed = 0;
    for (name, _) in command.env.iter().filter(|(_, value)| value.is_none()) {
        word(&[name]);
        removed += 1;
    }
    let too_long = || io::Error::from_raw_os_error(nix::libc::E2BIG);
    if words.len() > MAX_WORDS {
        return Err(too_long());
    }
    let mut limits = Vec::new();
    for (resource, soft, hard) in &command.limits {
        let (resource, soft, hard) = (resource.number(), *soft, *hard);
        Limit {
            resource,
            soft,
            hard,
        }
        .encode(&mut limits);
    }
    let WindowSize { rows, columns } = command.terminal.unwrap_or_default();
    let args = u32::try_from(command.args.len() + 1).map_err(|_| too_long())?;
    let mut spawn = Spawn {
        flags: command.flags(manner),
        umask: command.umask,
        nice: command.nice,
        rows,
        columns,
        limits: Limits::new(&limits),
        args,
        set,
        removed,
        words: &[],
    };
    if spawn.word_count().is_none() {
        return Err(too_long());
    }
    let is_apart = if words.len() + REST > MAX_MESSAGE {
        spawn.flags |= flags::WORDS_APART;
        true
    } else {
        spawn.words = &words;
        false
    };
    let mut bytes = Vec::with_capacity(spawn.words.len() + REST);
    protocol::Request::encode(&Request::Spawn(spawn), &mut bytes);
    Ok(Message {
        bytes,
        words: is_apart.then_some(words),
    })
}

impl Description {
    fn flags(&self, manner: &Manner) -> u32 {
        let of = |is_set, flag| if is_set { flag } else { 0 };
        let piped = manner.is_piped.into_iter().zip(flags::PIPED);
        let piped = piped.fold(0, |flags, (is_piped, flag)| flags | of(is_piped, flag));
        piped
            | of(manner.reports_start, flags::REPORT_START)
            | of(manner.ends_with_caller, flags::KILL_ON_HANGUP)
            | of(self.terminal.is_some(), flags::TERMINAL)
            | of(self.clears_env, flags::CLEAR_ENVIRONMENT)
            | of(self.side_channel.is_some(), flags::SIDE_CHANNEL)
            | of(self.ends_by_itself, flags::ENDS_BY_ITSELF)
    }
}

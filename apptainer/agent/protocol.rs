//! What the agent and its callers say to each other: the messages.
//!
//! `PROTOCOL.md` beside this file tells the whole of it. This file is compiled into
//! both sides, as `codec.rs` is, which has them as bytes.

/// The version that is spoken here.
pub(crate) const VERSION: u16 = 1;

/// The most that one message takes, on either transport. Words that take more room
/// go into a memory file (or, on a stream, ahead of their message).
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// The most room that the words of one command may take: what the kernel gives to
/// those of a new program at most, 6 MiB, with some to spare.
pub(crate) const MAX_WORDS: usize = 8 << 20;

/// The most words that one command may have.
pub(crate) const MAX_WORD_COUNT: u32 = 1 << 20;

/// How many limits of resources there are: `RLIM_NLIMITS` of linux/resource.h.
pub(crate) const MAX_LIMITS: usize = 16;

/// Where bytes are written to.
pub(crate) trait Sink {
    /// Adds these.
    fn put(&mut self, bytes: &[u8]);
}

/// Something that is not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// What becomes of commands when their caller is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    /// They are killed, and the agent ends.
    Kill,
    /// They go on.
    Keep,
}

/// What a caller says first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The versions that it speaks, from the oldest to the newest.
    pub(crate) oldest: u16,
    pub(crate) newest: u16,
    pub(crate) orphans: Orphans,
    /// Marks what this agent starts. Only the first caller's counts.
    pub(crate) token: [u8; 16],
}

/// What the agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) version: u16,
    /// Its pid, as it is numbered where it runs.
    pub(crate) pid: u32,
    /// The mark of what it starts.
    pub(crate) token: [u8; 16],
}

/// A command to start. Its words follow in the message, or lie in a memory file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spawn<'a> {
    /// Of [`flags`].
    pub(crate) flags: u32,
    /// The mask for new files' modes, if that is to be set.
    pub(crate) umask: Option<u32>,
    /// What is added to its niceness.
    pub(crate) nice: i32,
    /// The size of its terminal, if it gets one.
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    pub(crate) limits: Limits<'a>,
    /// How many arguments there are, the program's name included.
    pub(crate) args: u32,
    /// How many variables are set.
    pub(crate) set: u32,
    /// How many variables are removed.
    pub(crate) removed: u32,
    /// The words, each ended by a NUL: the working directory (empty for the agent's
    /// own), the arguments, `NAME=VALUE` of what is set, `NAME` of what is removed.
    /// Empty where they lie in a memory file.
    pub(crate) words: &'a [u8],
}

/// What [`Spawn::flags`] is made of.
pub(crate) mod flags {
    /// Say when the program runs.
    pub(crate) const REPORT_START: u32 = 1;
    /// Kill the command when its caller hangs up.
    pub(crate) const KILL_ON_HANGUP: u32 = 1 << 1;
    /// Give it a terminal of its own as its streams, and as its session's.
    pub(crate) const TERMINAL: u32 = 1 << 2;
    /// Begin with no variables in place of the container's.
    pub(crate) const CLEAR_ENVIRONMENT: u32 = 1 << 3;
    /// The words are in a memory file, which comes with the message.
    pub(crate) const WORDS_APART: u32 = 1 << 4;
    /// On a stream: this end of a standard stream is the caller's.
    pub(crate) const PIPED: [u32; 3] = [1 << 5, 1 << 6, 1 << 7];
    /// Give it one descriptor more, as its number 3. Not on a stream.
    pub(crate) const SIDE_CHANNEL: u32 = 1 << 8;
    /// It ends by itself when its caller is gone: give it time for that when its link ends.
    pub(crate) const ENDS_BY_ITSELF: u32 = 1 << 9;
    /// All of them.
    pub(crate) const ALL: u32 = (1 << 10) - 1;
}

/// Limits of resources: each a resource's number, and two limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits<'a>(pub(super) &'a [u8]);

/// The limits of one resource; `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) resource: u8,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// Which processes of a command a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The command itself.
    Process,
    /// Its process group.
    Group,
    /// All that it started.
    Tree,
}

/// What a caller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// The first of all, on a link.
    Hello(Hello),
    /// On a link: start a command.
    Spawn(Spawn<'a>),
    /// On a link: say that you are there.
    Ping(u64),
    /// On a link: kill all, say so, and end.
    Goodbye,
    /// On a link: name the commands whose number is above this one.
    List(u64),
    /// On a link: tell me of this command from now on.
    Attach(u64),
    /// To a command: send it a signal.
    Signal(u8, Scope),
    /// To a command: `SIGTERM` to all of it; what is left when it has ended is killed.
    Terminate,
    /// To a command: kill all of it.
    Kill,
    /// To a command: I no longer care.
    Release,
    /// To a command: your terminal has this many rows and columns.
    Resize(u16, u16),
}

/// What was being done for a command when that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading the request.
    Request,
    /// Taking its descriptors.
    Descriptors,
    /// Opening its terminal.
    Terminal,
    /// Making a process.
    Process,
    /// Tying its life to the agent's.
    Lifeline,
    /// Giving it a session.
    Session,
    /// Setting its limits and its niceness.
    Limits,
    /// Changing to its working directory.
    Directory,
    /// Running the program.
    Exec,
    /// Finding the command that was asked for.
    Attach,
}

impl Stage {
    pub(crate) const ALL: [Self; 10] = [
        Self::Request,
        Self::Descriptors,
        Self::Terminal,
        Self::Process,
        Self::Lifeline,
        Self::Session,
        Self::Limits,
        Self::Directory,
        Self::Exec,
        Self::Attach,
    ];
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Code(u8),
    Signal(u8),
}

/// What a command used: getrusage(2). Times are in microseconds, the most resident
/// memory is in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) user: u64,
    pub(crate) system: u64,
    pub(crate) max_resident: u64,
    pub(crate) minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) blocks_read: u64,
    pub(crate) blocks_written: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

/// A command as [`Request::List`] shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: u64,
    pub(crate) pid: u32,
    pub(crate) end: Option<End>,
}

/// What the agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Welcome(Welcome),
    /// It speaks these versions, and none that the caller does.
    Refused {
        oldest: u16,
        newest: u16,
    },
    Pong(u64),
    /// All has ended, and the agent does next.
    Farewell,
    /// One of the commands that were asked for; none, after the last.
    Listed(Option<Listed>),
    /// A command runs: its number, and its pid where it runs.
    Started {
        id: u64,
        pid: u32,
    },
    /// A command could not be started.
    Failed {
        stage: Stage,
        error: i32,
    },
    /// A command has ended.
    Exited {
        end: End,
        usage: Usage,
    },
}

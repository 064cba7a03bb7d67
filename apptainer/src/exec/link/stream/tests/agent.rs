//! The other end of a link, played frame by frame.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::timeout;

use crate::exec::link::frame::{HEADER, Header, Kind, MAX_PAYLOAD, Stream};
use crate::exec::link::protocol::{End, Reply, Request, Usage, VERSION, Welcome};
use crate::exec::{Child, Command};
use crate::{Link, Stdio};

/// Long enough for anything here.
pub(super) const GUARD: Duration = Duration::from_secs(20);

/// Long enough for what is not to happen to happen.
pub(super) const WHILE: Duration = Duration::from_millis(50);

/// The agent's end.
pub(super) struct Agent {
    pub(super) reader: ReadHalf<DuplexStream>,
    pub(super) writer: WriteHalf<DuplexStream>,
}

impl Agent {
    /// Two ends, the agent's and that of who makes a link, with so much room between them.
    pub(super) fn new(room: usize) -> (Self, (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>)) {
        let (theirs, ours) = duplex(room);
        let (reader, writer) = split(theirs);
        (Self { reader, writer }, split(ours))
    }

    /// The same after they have met.
    pub(super) async fn linked(room: usize) -> (Self, Link) {
        let (mut agent, (reader, writer)) = Self::new(room);
        let welcome = async {
            let (header, message) = agent.hear().await;
            assert_eq!((header.channel, header.kind), (0, Kind::Message));
            let request = Request::decode(&message).unwrap();
            assert!(matches!(request, Request::Hello(hello) if hello.newest == VERSION));
            agent.reply(0, welcome(VERSION)).await;
        };
        let (link, ()) = tokio::join!(Link::over(reader, writer), welcome);
        (agent, link.unwrap())
    }

    pub(super) async fn hear(&mut self) -> (Header, Vec<u8>) {
        let heard = async {
            let mut header = [0; HEADER];
            self.reader.read_exact(&mut header).await.unwrap();
            let header = Header::decode(&header).unwrap();
            let mut payload = vec![0; header.length as usize];
            self.reader.read_exact(&mut payload).await.unwrap();
            (header, payload)
        };
        timeout(GUARD, heard).await.expect("something is said")
    }

    /// Hears what is of this kind and on this channel.
    pub(super) async fn expect(&mut self, channel: u32, kind: Kind) -> Vec<u8> {
        let (header, payload) = self.hear().await;
        assert_eq!((header.channel, header.kind), (channel, kind));
        payload
    }

    pub(super) async fn expect_request(&mut self, channel: u32, expected: Request<'_>) {
        let message = self.expect(channel, Kind::Message).await;
        assert_eq!(Request::decode(&message), Ok(expected));
    }

    /// Hears that a command is asked for; its flags.
    pub(super) async fn expect_spawn(&mut self, channel: u32) -> u32 {
        let message = self.expect(channel, Kind::Message).await;
        match Request::decode(&message) {
            Ok(Request::Spawn(spawn)) => spawn.flags,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn say(&mut self, channel: u32, kind: Kind, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header {
            channel,
            kind,
            length,
        };
        let frame = [&header.encode()[..], payload].concat();
        self.writer.write_all(&frame).await.unwrap();
    }

    pub(super) async fn reply(&mut self, channel: u32, reply: Reply) {
        let mut message = Vec::new();
        reply.encode(&mut message);
        self.say(channel, Kind::Message, &message).await;
    }

    pub(super) async fn exit(&mut self, channel: u32, code: u8) {
        let usage = Usage::default();
        let end = End::Code(code);
        self.reply(channel, Reply::Exited { end, usage }).await;
    }

    /// Sends so many bytes of standard output.
    pub(super) async fn write(&mut self, channel: u32, mut length: usize) {
        while length > 0 {
            let part = length.min(MAX_PAYLOAD);
            self.say(channel, Kind::Data(Stream::Stdout), &vec![b'x'; part])
                .await;
            length -= part;
        }
    }

    /// Starts what is asked for.
    pub(super) async fn start(&mut self, channel: u32) -> u32 {
        let flags = self.expect_spawn(channel).await;
        let id = channel.into();
        self.reply(channel, Reply::Started { id, pid: 17 }).await;
        flags
    }
}

pub(super) fn welcome(version: u16) -> Reply {
    Reply::Welcome(Welcome {
        version,
        pid: 1,
        token: [1; 16],
    })
}

pub(super) fn piped(link: &Link) -> Command {
    let mut command = link.command("true");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub(super) async fn spawn(agent: &mut Agent, link: &Link, channel: u32) -> Child {
    let mut command = piped(link);
    let (child, _) = tokio::join!(command.spawn(), agent.start(channel));
    child.unwrap()
}

pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("it comes to its end")
}

//! Links over a stream whose other end is played here, frame by frame.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::timeout;

use crate::exec::link::frame::{HEADER, Header, Kind, MAX_PAYLOAD, Stream, WINDOW};
use crate::exec::link::protocol::{
    End, Reply, Request, Scope, Stage, Usage, VERSION, Welcome, flags,
};
use crate::exec::{Child, Command, ExecError, LinkError, StartStage};
use crate::{Link, Stdio};

/// Long enough for anything here.
const GUARD: Duration = Duration::from_secs(20);

/// Long enough for what is not to happen to happen.
const WHILE: Duration = Duration::from_millis(50);

/// The agent's end.
struct Agent {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
}

impl Agent {
    /// Two ends, the agent's and that of who makes a link, with so much room between them.
    fn new(room: usize) -> (Self, (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>)) {
        let (theirs, ours) = duplex(room);
        let (reader, writer) = split(theirs);
        (Self { reader, writer }, split(ours))
    }

    /// The same after they have met.
    async fn linked(room: usize) -> (Self, Link) {
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

    async fn hear(&mut self) -> (Header, Vec<u8>) {
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
    async fn expect(&mut self, channel: u32, kind: Kind) -> Vec<u8> {
        let (header, payload) = self.hear().await;
        assert_eq!((header.channel, header.kind), (channel, kind));
        payload
    }

    async fn expect_request(&mut self, channel: u32, expected: Request<'_>) {
        let message = self.expect(channel, Kind::Message).await;
        assert_eq!(Request::decode(&message), Ok(expected));
    }

    /// Hears that a command is asked for; its flags.
    async fn expect_spawn(&mut self, channel: u32) -> u32 {
        let message = self.expect(channel, Kind::Message).await;
        match Request::decode(&message) {
            Ok(Request::Spawn(spawn)) => spawn.flags,
            other => panic!("{other:?}"),
        }
    }

    async fn say(&mut self, channel: u32, kind: Kind, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap();
        let header = Header {
            channel,
            kind,
            length,
        };
        let frame = [&header.encode()[..], payload].concat();
        self.writer.write_all(&frame).await.unwrap();
    }

    async fn reply(&mut self, channel: u32, reply: Reply) {
        let mut message = Vec::new();
        reply.encode(&mut message);
        self.say(channel, Kind::Message, &message).await;
    }

    async fn exit(&mut self, channel: u32, code: u8) {
        let usage = Usage::default();
        let end = End::Code(code);
        self.reply(channel, Reply::Exited { end, usage }).await;
    }

    /// Sends so many bytes of standard output.
    async fn write(&mut self, channel: u32, mut length: usize) {
        while length > 0 {
            let part = length.min(MAX_PAYLOAD);
            self.say(channel, Kind::Data(Stream::Stdout), &vec![b'x'; part])
                .await;
            length -= part;
        }
    }

    /// Starts what is asked for.
    async fn start(&mut self, channel: u32) -> u32 {
        let flags = self.expect_spawn(channel).await;
        let id = channel.into();
        self.reply(channel, Reply::Started { id, pid: 17 }).await;
        flags
    }
}

fn welcome(version: u16) -> Reply {
    Reply::Welcome(Welcome {
        version,
        pid: 1,
        token: [1; 16],
    })
}

fn piped(link: &Link) -> Command {
    let mut command = link.command("true");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

async fn spawn(agent: &mut Agent, link: &Link, channel: u32) -> Child {
    let mut command = piped(link);
    let (child, _) = tokio::join!(command.spawn(), agent.start(channel));
    child.unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(GUARD, future).await.expect("it comes to its end")
}

#[tokio::test]
async fn whoever_answers_has_to_be_an_agent() {
    let answer = async |bytes: &[u8]| {
        let (mut agent, (reader, writer)) = Agent::new(1024);
        agent.writer.write_all(bytes).await.unwrap();
        drop(agent);
        soon(Link::over(reader, writer)).await.unwrap_err()
    };
    let framed = |channel: u32, reply: Reply| {
        let mut message = Vec::new();
        reply.encode(&mut message);
        let length = u32::try_from(message.len()).unwrap();
        let header = Header {
            channel,
            kind: Kind::Message,
            length,
        };
        [&header.encode()[..], &message].concat()
    };
    let strangers = [
        b"Welcome to node17!\n".to_vec(),
        framed(0, Reply::Pong(1)),
        framed(1, welcome(VERSION)),
        framed(0, welcome(VERSION + 1)),
    ];
    for bytes in strangers {
        let error = answer(&bytes).await;
        let is_stranger =
            matches!(&error, LinkError::NoAgent { reason } if reason.contains("speak"));
        assert!(is_stranger, "{error}");
    }
    for bytes in [&[][..], &framed(0, welcome(VERSION))[..20]] {
        let error = answer(bytes).await;
        let has_ended = matches!(&error, LinkError::NoAgent { reason } if reason.contains("ended"));
        assert!(has_ended, "{error}");
    }
    let refused = Reply::Refused {
        oldest: 7,
        newest: 9,
    };
    let error = answer(&framed(0, refused)).await;
    assert!(
        matches!(
            error,
            LinkError::Version {
                oldest: 7,
                newest: 9
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_output_is_complete_when_it_is_ended_though_the_exit_came_before() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut command = link.command("true");
    let play = async {
        let flags = agent.expect_spawn(1).await;
        let [stdin, stdout, stderr] = flags::PIPED;
        assert_eq!(flags & (stdin | stdout | stderr), stdout | stderr);
        agent.exit(1, 3).await;
        // Longer than the grace for what is left in the background.
        tokio::time::sleep(Duration::from_millis(400)).await;
        agent.say(1, Kind::Data(Stream::Stdout), b"out").await;
        agent.say(1, Kind::Data(Stream::Stderr), b"err").await;
        agent.say(1, Kind::End(Stream::Stdout), &[]).await;
        agent.say(1, Kind::Drained(Stream::Stderr), &[]).await;
        agent.say(1, Kind::End(Stream::Stderr), &[]).await;
    };
    let (output, ()) = soon(async { tokio::join!(command.output(), play) }).await;
    let output = output.unwrap();
    assert_eq!(
        (&output.stdout[..], &output.stderr[..]),
        (&b"out"[..], &b"err"[..])
    );
    assert_eq!(output.status.code(), Some(3));
    assert!(!output.is_cut);
}

#[tokio::test]
async fn an_output_that_is_drained_and_not_ended_is_cut() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut command = link.command("true");
    let play = async {
        agent.expect_spawn(1).await;
        agent.exit(1, 0).await;
        agent.say(1, Kind::Data(Stream::Stdout), b"out").await;
        agent.say(1, Kind::Drained(Stream::Stdout), &[]).await;
        agent.say(1, Kind::End(Stream::Stderr), &[]).await;
    };
    let (output, ()) = soon(async { tokio::join!(command.output(), play) }).await;
    let output = output.unwrap();
    assert_eq!(&output.stdout[..], b"out");
    assert!(output.is_cut);
}

#[tokio::test]
async fn a_command_that_was_never_started_says_why() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut command = link.command("true");
    let play = async {
        for channel in 1..3 {
            agent.expect_spawn(channel).await;
            let stage = Stage::Exec;
            agent
                .reply(channel, Reply::Failed { stage, error: 2 })
                .await;
            // These are for whoever would have read.
            agent.say(channel, Kind::End(Stream::Stdout), &[]).await;
            agent.expect(channel, Kind::HangUp).await;
        }
    };
    let run = async {
        for _ in 0..2 {
            let error = command.output().await.unwrap_err();
            assert!(
                matches!(&error, ExecError::Start(error) if error.stage() == StartStage::Exec),
                "{error}"
            );
        }
    };
    soon(async { tokio::join!(run, play) }).await;
}

#[tokio::test]
async fn the_agent_gets_credit_as_bytes_are_taken() {
    let (mut agent, link) = Agent::linked(1 << 20).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let mut stdout = child.stdout.take().unwrap();
    let window = WINDOW as usize;
    agent.write(1, window).await;
    let mut some = vec![0; window / 2 - 1];
    soon(stdout.read_exact(&mut some)).await.unwrap();
    assert!(
        timeout(WHILE, agent.reader.read_u8()).await.is_err(),
        "too early"
    );
    soon(stdout.read_exact(&mut [0; 1])).await.unwrap();
    let granted = agent.expect(1, Kind::Credit(Stream::Stdout)).await;
    assert_eq!(granted, (WINDOW / 2).to_le_bytes());
    agent.write(1, window / 2).await;
    agent.say(1, Kind::End(Stream::Stdout), &[]).await;
    let mut rest = Vec::new();
    soon(stdout.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest.len(), window);
}

#[tokio::test]
async fn no_more_is_sent_than_there_is_credit_for() {
    let (mut agent, link) = Agent::linked(1 << 20).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let mut stdin = child.stdin.take().unwrap();
    let sent = vec![b'y'; 3 * WINDOW as usize / 2];
    let write = async {
        stdin.write_all(&sent).await.unwrap();
        drop(stdin);
    };
    let play = async {
        let mut came = 0;
        while came < WINDOW as usize {
            came += agent.expect(1, Kind::Data(Stream::Stdin)).await.len();
        }
        assert_eq!(came, WINDOW as usize);
        assert!(
            timeout(WHILE, agent.reader.read_u8()).await.is_err(),
            "too much"
        );
        let credit = 100_u32.to_le_bytes();
        agent.say(1, Kind::Credit(Stream::Stdin), &credit).await;
        assert_eq!(agent.expect(1, Kind::Data(Stream::Stdin)).await.len(), 100);
        let credit = (WINDOW - 50).to_le_bytes();
        agent.say(1, Kind::Credit(Stream::Stdin), &credit).await;
        let mut came = came + 100;
        while came < sent.len() {
            came += agent.expect(1, Kind::Data(Stream::Stdin)).await.len();
        }
        agent.expect(1, Kind::End(Stream::Stdin)).await;
    };
    soon(async { tokio::join!(write, play) }).await;
}

#[tokio::test]
async fn nobody_waits_for_a_stream_that_nobody_reads() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut unread = spawn(&mut agent, &link, 1).await;
    let mut read = spawn(&mut agent, &link, 2).await;
    soon(agent.write(1, WINDOW as usize)).await;
    soon(agent.write(2, 1000)).await;
    let mut stdout = read.stdout.take().unwrap();
    soon(stdout.read_exact(&mut [0; 1000])).await.unwrap();
    let mut stdout = unread.stdout.take().unwrap();
    soon(stdout.read_exact(&mut vec![0; WINDOW as usize]))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_transport_that_is_stuck_costs_no_more_than_so_much() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut children = Vec::new();
    for channel in 1..20 {
        children.push(spawn(&mut agent, &link, channel).await);
    }
    // From here on the agent reads nothing.
    let mut sent = 0;
    for child in &mut children {
        let stdin = child.stdin.as_mut().unwrap();
        while let Ok(written) = timeout(WHILE, stdin.write(&[b'y'; 8192])).await {
            sent += written.unwrap();
        }
    }
    // What is being sent, and what waits behind it.
    assert!(sent <= 3 * WINDOW as usize, "{sent} bytes are somewhere");
    let mut command = piped(&link);
    assert!(
        timeout(WHILE, command.spawn()).await.is_err(),
        "it was asked for"
    );
    let signals = (0..1_000_000).find(|_| children[0].start_kill().is_err());
    assert!(signals.is_some(), "no number of signals is too many");
    // What was waiting goes on, and nothing of it is lost or asked for twice.
    let read = async {
        let (mut came, mut kills) = (0, 0);
        while came < sent {
            let (header, payload) = agent.hear().await;
            match header.kind {
                Kind::Data(Stream::Stdin) => came += payload.len(),
                kind => kills += u32::from(kind == Kind::Message),
            }
        }
        kills
    };
    soon(read).await;
}

#[tokio::test]
async fn whatever_is_no_frame_of_an_agents_ends_the_link() {
    let out = Kind::Data(Stream::Stdout);
    let credit = Kind::Credit(Stream::Stdin);
    let mut exited = Vec::new();
    let usage = Usage::default();
    let end = End::Code(0);
    Reply::Exited { end, usage }.encode(&mut exited);
    let mut started = Vec::new();
    Reply::Started { id: 1, pid: 1 }.encode(&mut started);
    let mut pong = Vec::new();
    Reply::Pong(5).encode(&mut pong);
    let message = Kind::Message;
    // What is said in order, the last of it wrong.
    let wrong: Vec<Vec<(u32, Kind, &[u8])>> = vec![
        vec![(1, Kind::HangUp, &[])],
        vec![(1, Kind::Words, b"words")],
        vec![(1, Kind::Data(Stream::Stdin), b"data")],
        vec![(1, Kind::End(Stream::Stdin), &[])],
        vec![(1, Kind::Credit(Stream::Stdout), &[1, 0, 0, 0])],
        vec![(1, Kind::Close(Stream::Stdout), &[])],
        vec![(1, Kind::Drained(Stream::Stdin), &[])],
        vec![(2, out, b"of a channel that was never opened")],
        vec![(1, Kind::End(Stream::Stdout), &[]), (1, out, b"more")],
        vec![(1, Kind::End(Stream::Stdout), &[]); 2],
        vec![(1, Kind::Drained(Stream::Stdout), &[]); 2],
        vec![(1, credit, &[1, 0, 0, 0])],
        vec![(1, credit, &[0xff; 4])],
        vec![(1, message, &exited), (1, message, &exited)],
        vec![(1, message, &started)],
        vec![(1, message, &pong)],
        vec![(0, message, &pong)],
        vec![(0, message, &exited)],
        vec![(1, message, b"nonsense")],
        vec![(0, message, &[0; 200])],
    ];
    for frames in wrong {
        let (mut agent, link) = Agent::linked(4096).await;
        let mut child = spawn(&mut agent, &link, 1).await;
        for (channel, kind, payload) in &frames {
            agent.say(*channel, *kind, payload).await;
        }
        let case = frames.last();
        let mut byte = [0; 1];
        // Both ends are closed, behind what was said before.
        while soon(agent.reader.read(&mut byte)).await.unwrap() > 0 {}
        assert!(
            matches!(soon(link.ping()).await, Err(LinkError::Malformed)),
            "{case:?}"
        );
        if frames.len() == 1 {
            let error = soon(child.wait()).await.unwrap_err();
            assert!(
                matches!(error, ExecError::Link(LinkError::Malformed)),
                "{case:?}"
            );
            assert!(error.is_lost());
        }
        let error = soon(piped(&link).spawn()).await.unwrap_err();
        assert!(
            matches!(error, ExecError::Link(LinkError::Malformed)),
            "{case:?}"
        );
        assert!(soon(link.close()).await.is_err(), "{case:?}");
    }
}

#[tokio::test]
async fn more_than_there_was_credit_for_ends_the_link() {
    let (mut agent, link) = Agent::linked(1 << 20).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    agent.write(1, WINDOW as usize).await;
    soon(async {
        agent.say(1, Kind::Data(Stream::Stdout), b"x").await;
        while !matches!(link.ping().await, Err(LinkError::Malformed)) {}
    })
    .await;
    // What was right is still there.
    let mut stdout = child.stdout.take().unwrap();
    let mut bytes = vec![0; WINDOW as usize];
    soon(stdout.read_exact(&mut bytes)).await.unwrap();
    assert!(soon(stdout.read(&mut bytes)).await.is_err());
}

#[tokio::test]
async fn a_stream_that_ends_is_a_lost_link() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let mut ended = spawn(&mut agent, &link, 2).await;
    agent.say(1, Kind::Data(Stream::Stdout), b"out").await;
    agent.exit(2, 0).await;
    agent.say(2, Kind::End(Stream::Stdout), &[]).await;
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let wait = child.wait();
    let cut = async {
        tokio::time::sleep(WHILE).await;
        drop(agent);
    };
    let (waited, ()) = soon(async { tokio::join!(wait, cut) }).await;
    let error = waited.unwrap_err();
    assert!(matches!(error, ExecError::Link(LinkError::Lost)), "{error}");
    let mut text = Vec::new();
    let error = soon(stdout.read_to_end(&mut text)).await.unwrap_err();
    assert_eq!(text, b"out", "what came is there");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let error = soon(stdin.write(b"in")).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    child.start_kill().unwrap();
    assert!(matches!(soon(link.ping()).await, Err(LinkError::Lost)));
    // What was known stays so.
    assert!(soon(ended.wait()).await.unwrap().success());
    let mut stdout = ended.stdout.take().unwrap();
    assert_eq!(soon(stdout.read(&mut [0; 1])).await.unwrap(), 0);
    soon(link.close()).await.unwrap();
}

#[tokio::test]
async fn the_agent_is_told_who_has_gone() {
    let (mut agent, link) = Agent::linked(1024).await;
    let child = spawn(&mut agent, &link, 1).await;
    drop(child);
    agent.expect_request(1, Request::Kill).await;
    agent.expect(1, Kind::End(Stream::Stdin)).await;
    agent.expect(1, Kind::Close(Stream::Stdout)).await;
    agent.expect(1, Kind::Close(Stream::Stderr)).await;
    agent.expect(1, Kind::HangUp).await;
    // What was on its way to it comes to nothing.
    agent.write(1, 1000).await;
    agent.exit(1, 0).await;

    let mut command = piped(&link);
    let (child, flags) = tokio::join!(command.kill_on_drop(false).spawn(), agent.start(2));
    assert_eq!(flags & flags::KILL_ON_HANGUP, 0);
    let stdout = child.unwrap().stdout.take().unwrap();
    agent.expect_request(2, Request::Release).await;
    agent.expect(2, Kind::End(Stream::Stdin)).await;
    agent.expect(2, Kind::Close(Stream::Stderr)).await;
    drop(stdout);
    agent.expect(2, Kind::Close(Stream::Stdout)).await;
    agent.expect(2, Kind::HangUp).await;

    let (waited, _) = tokio::join!(timeout(WHILE, command.output()), agent.expect_spawn(3));
    assert!(waited.is_err());
    agent.expect(3, Kind::End(Stream::Stdin)).await;
    agent.expect(3, Kind::Close(Stream::Stdout)).await;
    agent.expect(3, Kind::Close(Stream::Stderr)).await;
    agent.expect_request(3, Request::Release).await;
    agent.expect(3, Kind::HangUp).await;

    drop((link, command));
    let mut rest = Vec::new();
    soon(agent.reader.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn signals_and_sizes_are_said_on_the_commands_channel() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut size = crate::exec::WindowSize::default();
    (size.rows, size.columns) = (24, 80);
    let mut command = link.command("true");
    let (child, flags) = tokio::join!(command.terminal(size).spawn(), agent.start(1));
    let mut child = child.unwrap();
    assert_ne!(flags & flags::TERMINAL, 0);
    child.signal(apptainer_sys::process::Signal::HUP).unwrap();
    agent
        .expect_request(1, Request::Signal(1, Scope::Tree))
        .await;
    let mut terminal = child.terminal.take().unwrap();
    size.rows = 25;
    terminal.resize(size).unwrap();
    agent.expect_request(1, Request::Resize(25, 80)).await;
    terminal.write_all(b"typed").await.unwrap();
    assert_eq!(agent.expect(1, Kind::Data(Stream::Stdin)).await, b"typed");
    agent.say(1, Kind::Data(Stream::Stdout), b"shown").await;
    let mut shown = [0; 5];
    soon(terminal.read_exact(&mut shown)).await.unwrap();
    assert_eq!(&shown, b"shown");
    drop(terminal);
    agent.expect(1, Kind::End(Stream::Stdin)).await;
    agent.expect(1, Kind::Close(Stream::Stdout)).await;
}

#[tokio::test]
async fn goodbye_waits_for_the_answer() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let clone = link.clone();
    let play = async {
        agent.expect_request(0, Request::Ping(1)).await;
        agent.reply(0, Reply::Pong(1)).await;
        agent.expect_request(0, Request::Goodbye).await;
        agent.exit(1, 9).await;
        agent.reply(0, Reply::Farewell).await;
        let mut rest = Vec::new();
        agent.reader.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    };
    let close = async {
        link.ping().await.unwrap();
        link.close().await.unwrap();
    };
    soon(async { tokio::join!(close, play) }).await;
    assert_eq!(child.wait().await.unwrap().code(), Some(9));
    assert!(matches!(clone.ping().await, Err(LinkError::Lost)));
}

#[test]
fn a_link_ends_with_the_runtime_that_made_it() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let (mut agent, link) = first.block_on(Agent::linked(1024));
    let mut child = first.block_on(spawn(&mut agent, &link, 1));
    let second = runtime();
    second.block_on(async {
        let (pinged, ()) = tokio::join!(link.ping(), async {
            agent.expect_request(0, Request::Ping(1)).await;
            agent.reply(0, Reply::Pong(1)).await;
        });
        pinged.unwrap();
    });
    drop(first);
    second.block_on(async {
        assert!(matches!(soon(link.ping()).await, Err(LinkError::Lost)));
        assert!(soon(child.wait()).await.unwrap_err().is_lost());
    });
}

mod whatever_comes {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn frame()(
            channel in 0..3_u32,
            kind in 0..8_u8,
            stream in 0..3_u8,
            length in prop_oneof![Just(0), Just(4), 0..100_u32, 0..70_000_u32],
            fill: u8,
        ) -> Vec<u8> {
            let mut bytes = channel.to_le_bytes().to_vec();
            bytes.extend([kind, stream, 0, 0]);
            bytes.extend(length.to_le_bytes());
            bytes.resize(bytes.len() + length as usize, fill);
            bytes
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn it_ends_the_link_or_does_nothing(frames in prop::collection::vec(frame(), 1..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(soon(async {
                let (mut agent, link) = Agent::linked(4096).await;
                let mut child = spawn(&mut agent, &link, 1).await;
                let mut stream = child.stream().unwrap();
                let Agent { mut reader, mut writer } = agent;
                let say = async {
                    // What is no frame closes the stream in the middle of it.
                    let _ = writer.write_all(&frames.concat()).await;
                    let _ = writer.shutdown().await;
                };
                let ignore = async {
                    let _ = reader.read_to_end(&mut Vec::new()).await;
                };
                let read = async {
                    while let Some(Ok(_)) = stream.next().await {}
                    let _ = child.wait().await;
                    let error = link.ping().await.unwrap_err();
                    assert!(matches!(error, LinkError::Lost | LinkError::Malformed));
                };
                tokio::join!(say, ignore, read);
            }));
        }
    }
}

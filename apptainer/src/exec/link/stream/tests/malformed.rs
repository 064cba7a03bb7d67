//! What is not what an agent says.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::agent::{Agent, piped, soon, spawn};
use crate::exec::link::frame::{Kind, Stream, WINDOW};
use crate::exec::link::protocol::{End, Reply, Usage};
use crate::exec::{ExecError, LinkError};

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

//! Links that begin, and end.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::agent::{Agent, WHILE, soon, spawn, welcome};
use crate::Link;
use crate::exec::link::frame::{Header, Kind, Stream};
use crate::exec::link::protocol::{Reply, Request, VERSION};
use crate::exec::{ExecError, LinkError};

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
async fn goodbye_waits_for_the_answer() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let other = link.clone();
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
    assert!(matches!(other.ping().await, Err(LinkError::Lost)));
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

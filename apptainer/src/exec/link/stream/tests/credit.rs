//! How much is under way.

use apptainer_sys::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::agent::{Agent, WHILE, piped, soon, spawn};
use crate::exec::link::frame::{Kind, Stream, WINDOW};

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
    let signals = (0..1_000_000).find(|_| children[0].signal(Signal::USR1).is_err());
    assert!(signals.is_some(), "no number of signals is too many");
    // What was waiting goes on, and nothing of it is lost or asked for twice.
    let read = async {
        let mut came = 0;
        while came < sent {
            let (header, payload) = agent.hear().await;
            if header.kind == Kind::Data(Stream::Stdin) {
                came += payload.len();
            }
        }
    };
    soon(read).await;
}

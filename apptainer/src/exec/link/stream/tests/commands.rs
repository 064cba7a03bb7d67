//! Commands, and what is said of them.

use std::io::ErrorKind;
use std::time::Duration;

use apptainer_sys::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::agent::{Agent, WHILE, piped, soon, spawn};
use crate::exec::link::frame::{Kind, Stream};
use crate::exec::link::protocol::{Reply, Request, Scope, Stage, flags};
use crate::exec::{ExecError, StartStage};

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
async fn frames_may_come_byte_by_byte() {
    let (mut agent, link) = Agent::linked(1).await;
    let mut command = link.command("true");
    let play = async {
        agent.expect_spawn(1).await;
        // Those that are put together, those that lie by themselves, and what is between.
        for length in [1, 4095, 4096, 4097, 65536, 1] {
            agent.write(1, length).await;
        }
        agent.say(1, Kind::End(Stream::Stdout), &[]).await;
        agent.say(1, Kind::End(Stream::Stderr), &[]).await;
        agent.exit(1, 0).await;
    };
    let (output, ()) = soon(async { tokio::join!(command.output(), play) }).await;
    assert_eq!(output.unwrap().stdout.len(), 4096 * 3 + 65536 + 2);
}

#[tokio::test]
async fn an_end_comes_through_however_much_waits() {
    let (mut agent, link) = Agent::linked(1024).await;
    let mut child = spawn(&mut agent, &link, 1).await;
    let other = spawn(&mut agent, &link, 2).await;
    // The agent does not listen.
    let error = loop {
        if let Err(error) = child.signal(Signal::USR1) {
            break error;
        }
    };
    assert!(matches!(&error, ExecError::Wait(error) if error.kind() == ErrorKind::WouldBlock));
    child.start_kill().unwrap();
    child.start_kill().unwrap();
    drop(other);
    let mut killed = [0; 3];
    let listen = async {
        while killed[1..] != [1, 1] {
            let (header, message) = agent.hear().await;
            let is_kill =
                header.kind == Kind::Message && Request::decode(&message) == Ok(Request::Kill);
            killed[header.channel as usize] += usize::from(is_kill);
        }
    };
    soon(listen).await;
}

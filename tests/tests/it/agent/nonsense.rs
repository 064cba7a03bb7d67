//! Messages that are none.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use apptainer::Link;
use apptainer::exec::{Child, OnDisconnect};
use apptainer::sys::process::Seqpacket;
use fixtures::World;

use super::processes::{SOON, descriptors, until};

/// An agent that others may call, and a command that nothing may happen to.
struct Agent {
    world: World,
    link: Link,
    child: Child,
    descriptors: usize,
}

impl Agent {
    async fn start() -> Self {
        let world = World::new().await;
        let path = socket(&world);
        let link = world.container().await.link();
        let link = link
            .on_disconnect(OnDisconnect::Detach(path))
            .await
            .unwrap();
        let child = link.command("sleep").arg("1000").spawn().await.unwrap();
        let pid = link.pid().unwrap();
        Self {
            descriptors: descriptors(pid).len(),
            world,
            link,
            child,
        }
    }

    fn connect(&self) -> Seqpacket {
        Seqpacket::connect(&socket(&self.world)).unwrap()
    }

    /// Checks that it is as it was.
    async fn finish(mut self) {
        self.link.ping().await.unwrap();
        assert_eq!(self.child.try_wait().unwrap(), None);
        let output = self.link.command("echo").arg("well").output().await;
        assert_eq!(&output.unwrap().stdout[..], b"well\n");
        let pid = self.link.pid().unwrap();
        until("it has closed what it was given", SOON, || {
            descriptors(pid).len() == self.descriptors
        })
        .await;
        self.child.kill().await.unwrap();
        self.link.close().await.unwrap();
        self.world.finish();
    }
}

fn socket(world: &World) -> PathBuf {
    world.folder().join("links/one")
}

/// Sends, waiting while the agent has no room for more.
async fn send(socket: &Seqpacket, message: &[u8], fds: &[OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    while let Err(error) = socket.send(message, &fds) {
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

fn fds(count: usize) -> Vec<OwnedFd> {
    let open = |_| File::open("/dev/null").unwrap().into();
    (0..count).map(open).collect()
}

/// Numbers that look like chance, the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// A greeting: see PROTOCOL.md.
fn hello() -> Vec<u8> {
    let mut message = vec![1, 1, 0, 1, 0, 0];
    message.extend([0; 16]);
    message
}

/// A request to run `true`, with these fields changed.
fn spawn(args: u32, set: u32, limits: u8, words: &[u8]) -> Vec<u8> {
    let mut message = vec![2];
    message.extend(1_u32.to_le_bytes());
    message.extend(u32::MAX.to_le_bytes());
    message.extend([0; 8]);
    for count in [args, set, 0] {
        message.extend(count.to_le_bytes());
    }
    message.push(limits);
    message.extend(words);
    message
}

const WORDS: &[u8] = b"\0true\0";

#[tokio::test]
async fn what_is_random_does_no_harm() {
    let agent = Agent::start().await;
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    let mut socket = agent.connect();
    for round in 0..3000 {
        if round % 50 == 0 {
            socket = agent.connect();
            if round % 100 == 0 {
                send(&socket, &hello(), &[]).await;
            }
        }
        let length = 1 + chance.below(200);
        let mut message: Vec<u8> = (0..length)
            .map(|_| u8::try_from(chance.below(256)).unwrap())
            .collect();
        // Mostly of a kind that there is, but none that ends the agent.
        message[0] = [1, 2, 2, 2, 3, 5, 6, 16, 17, 19, 128, 255][chance.below(12)];
        send(&socket, &message, &fds(chance.below(9))).await;
    }
    drop(socket);
    agent.finish().await;
}

#[tokio::test]
async fn requests_that_contradict_themselves_do_no_harm() {
    let agent = Agent::start().await;
    let socket = agent.connect();
    send(&socket, &hello(), &[]).await;
    let good = spawn(1, 0, 0, WORDS);
    let mut messages: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    messages.retain(|message| !message.is_empty());
    messages.extend([
        spawn(2, 0, 0, WORDS),
        spawn(u32::MAX, 0, 0, WORDS),
        spawn(u32::MAX, u32::MAX, 0, WORDS),
        spawn(1, 0, 255, WORDS),
        spawn(0, 0, 0, b"\0"),
        spawn(1, 0, 0, b"\0true"),
        spawn(1, 0, 0, b""),
        vec![2; 64 * 1024],
    ]);
    for message in &messages {
        for count in [0, 1, 4, 8] {
            send(&socket, message, &fds(count)).await;
        }
    }
    // A whole one, with fewer descriptors than it takes.
    for count in 0..4 {
        send(&socket, &good, &fds(count)).await;
    }
    drop(socket);
    agent.finish().await;
}

#[tokio::test]
async fn who_has_not_said_hello_gets_nothing_run() {
    let agent = Agent::start().await;
    let socket = agent.connect();
    let marker = agent.world.folder().join("ran");
    let words = format!("\0touch\0{}\0", marker.display());
    send(&socket, &spawn(2, 0, 0, words.as_bytes()), &fds(4)).await;
    agent.link.ping().await.unwrap();
    let commands = agent.link.commands().await.unwrap();
    assert_eq!(commands.len(), 1, "{commands:?}");
    drop(socket);
    assert!(!marker.exists());
    agent.finish().await;
}

#[tokio::test]
async fn a_caller_that_never_reads_holds_nobody_up() {
    let agent = Agent::start().await;
    let socket = agent.connect();
    send(&socket, &hello(), &[]).await;
    let mut ping = vec![3];
    ping.extend(7_u64.to_le_bytes());
    for _ in 0..5000 {
        send(&socket, &ping, &[]).await;
    }
    agent.link.ping().await.unwrap();
    drop(socket);
    agent.finish().await;
}

#[tokio::test]
async fn there_is_room_for_so_many_callers_and_the_others_are_let_go() {
    let agent = Agent::start().await;
    let callers: Vec<_> = (0..100).map(|_| agent.connect()).collect();
    agent.link.ping().await.unwrap();
    drop(callers);
    Link::attach(socket(&agent.world))
        .await
        .unwrap()
        .ping()
        .await
        .unwrap();
    agent.finish().await;
}

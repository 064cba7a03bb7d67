//! Who waits is woken, whoever was first.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::BytesMut;
use tokio_test::task;

use crate::exec::link::frame::{Kind, Stream};
use crate::exec::link::line::Line;
use crate::exec::link::protocol::{End, Reply, Usage};
use crate::exec::link::stream::ChannelOutput;
use crate::exec::link::stream::channel::Channel;
use crate::exec::link::stream::channels::Channels;
use crate::exec::stream::Watch;
use crate::exec::{ChildStdout, OutputStream};

/// One whose command has ended, but for what is still to come of its output.
fn ended() -> Arc<Channel> {
    let channels = Arc::new(Channels::default());
    let channel = Channel::new(1, channels, [false, true, false]);
    let mut exited = Vec::new();
    let (end, usage) = (End::Code(0), Usage::default());
    Reply::Exited { end, usage }.encode(&mut exited);
    let exited = BytesMut::from(&exited[..]);
    channel.take(Kind::Message, exited).unwrap();
    Arc::new(channel)
}

#[tokio::test]
async fn an_output_that_is_drained_while_it_is_waited_for_is_looked_at_again() {
    const ROUNDS: usize = 5_000;
    let channels: Vec<_> = (0..ROUNDS).map(|_| ended()).collect();
    let (asked, drained) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let until = |number: &AtomicUsize, is: usize| {
        while number.load(Ordering::Acquire) < is {
            spin_loop();
        }
    };
    let mut forgotten = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for (channel, round) in channels.iter().zip(1..) {
                until(&asked, round);
                (0..round % 100).for_each(|_| spin_loop());
                let kind = Kind::Drained(Stream::Stdout);
                channel.take(kind, BytesMut::new()).unwrap();
                drained.store(round, Ordering::Release);
            }
        });
        for (channel, round) in channels.iter().zip(1..) {
            let stdout = ChildStdout::of_channel(ChannelOutput::stdout(Arc::clone(channel)));
            let watch = Watch::Remote(Line::Channel(Arc::clone(channel)));
            let mut stream = task::spawn(OutputStream::new(Some(stdout), None, watch));
            asked.store(round, Ordering::Release);
            let polled = stream.poll_next();
            until(&drained, round);
            // Now only what was left in the background may still write.
            let is_in_grace = format!("{:?}", *stream).contains("Grace(");
            forgotten += usize::from(polled.is_ready() || !is_in_grace && !stream.is_woken());
        }
    });
    assert_eq!(forgotten, 0, "of {ROUNDS}");
}

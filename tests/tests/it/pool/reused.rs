//! Instances that are used again.

use std::time::{Duration, Instant};

use apptainer::instance::{PoolSize, Reset, Service};
use apptainer::sys::process::{PidFd, Signal};
use fixtures::World;

use super::{WAIT, said, until};

/// What sleeps in it.
async fn sleeping(service: &Service) -> Vec<String> {
    let listed = said(service, "ps -o args").await;
    let lines = listed
        .lines()
        .map(|line| line.trim().trim_start_matches("/bin/"));
    let mut lines: Vec<_> = lines
        .filter(|line| line.starts_with("sleep"))
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn who_came_first_is_served_first() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 1)).reset(Reset::Reuse);
    let pool = pool.open().await.unwrap();
    let held = pool.check_out().await.unwrap();
    let (sender, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..8 {
        let (pool, sender) = (pool.clone(), sender.clone());
        tokio::spawn({
            let pool = pool.clone();
            async move {
                let _checkout = pool.check_out().await.unwrap();
                sender.send(number).unwrap();
            }
        });
        until(&pool, |stats| stats.waiting == number + 1).await;
    }
    drop((held, sender));
    for number in 0..8 {
        assert_eq!(served.recv().await, Some(number));
    }
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_was_left_running_is_killed_and_the_payload_goes_on() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let payload = ["sh", "-c", "sleep 10001 & sleep 10002 & wait"];
    let pool = supervisor.pool(world.spec().command(payload));
    let pool = pool.size(PoolSize::new(1, 1)).reset(Reset::Reuse);
    let pool = pool.max_uses(2).open().await.unwrap();
    let first = pool.check_out().await.unwrap();
    let name = first.name().to_owned();
    said(
        &first,
        "sleep 10003 > /dev/null 2>&1 & setsid sleep 10004 > /dev/null 2>&1 &",
    )
    .await;
    let held = first
        .command("sleep")
        .unwrap()
        .arg("10005")
        .spawn()
        .await
        .unwrap();
    let all: Vec<_> = (10001..=10005)
        .map(|number| format!("sleep {number}"))
        .collect();
    // Those in the background are there a moment later.
    let started = async {
        while sleeping(&first).await != all {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let started = tokio::time::timeout(Duration::from_secs(60), started).await;
    assert!(started.is_ok(), "{:?}", sleeping(&first).await);
    first.give_back().await.unwrap();
    let output = held.wait_with_output().await.unwrap();
    assert_eq!(output.status.signal(), Some(Signal::KILL));

    let second = pool.check_out().await.unwrap();
    assert_eq!(second.name(), name);
    assert_eq!(sleeping(&second).await, all[..2]);
    second.give_back().await.unwrap();
    // It was used as often as it may be.
    let third = pool.check_out().await.unwrap();
    assert_ne!(third.name(), name);
    drop(third);
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_was_left_running_is_killed_whatever_the_payload_is() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    for (spec, payload) in [
        (world.spec(), 0),
        (world.spec().command(WAIT), 1),
        (world.spec().no_init().command(WAIT), 1),
        (world.spec().no_init(), 0),
    ] {
        let pool = supervisor.pool(spec).size(PoolSize::new(1, 1));
        let pool = pool.reset(Reset::Reuse).open().await.unwrap();
        let first = pool.check_out().await.unwrap();
        let name = first.name().to_owned();
        let script = "sleep 10003 > /dev/null 2>&1 & echo $!";
        assert_ne!(said(&first, script).await, "");
        first.give_back().await.unwrap();
        let second = pool.check_out().await.unwrap();
        assert_eq!(second.name(), name);
        assert_eq!(sleeping(&second).await.len(), payload);
        drop(second);
        pool.drain(Duration::MAX).await.unwrap();
    }
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_lost_in_use_is_replaced_when_it_comes_back() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 1)).reset(Reset::Reuse);
    let pool = pool.open().await.unwrap();
    let lost = pool.check_out().await.unwrap();
    let name = lost.name().to_owned();
    let first = PidFd::open(lost.pid()).unwrap();
    first.signal(Signal::KILL).unwrap();
    lost.ended().await;
    lost.give_back().await.unwrap();
    let next = pool.check_out().await.unwrap();
    assert_ne!(next.name(), name);
    drop(next);
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn one_that_is_ready_serves_many() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 1)).reset(Reset::Reuse);
    let pool = pool.open().await.unwrap();
    let [mut check_outs, mut commands, mut resets] = [const { Vec::new() }; 3];
    for _ in 0..100 {
        let began = Instant::now();
        let checkout = pool.check_out().await.unwrap();
        check_outs.push(began.elapsed());
        let began = Instant::now();
        let status = checkout.command("true").unwrap().status().await.unwrap();
        assert!(status.success());
        commands.push(began.elapsed());
        let began = Instant::now();
        checkout.give_back().await.unwrap();
        resets.push(began.elapsed());
    }
    assert_eq!(pool.stats().started_total, 1);
    for (what, times) in [
        ("check-out", &mut check_outs),
        ("command", &mut commands),
        ("reset", &mut resets),
    ] {
        times.sort();
        eprintln!(
            "{what}: {:?} in the middle, {:?} at most",
            times[50], times[99]
        );
    }
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

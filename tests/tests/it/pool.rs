//! Instances that are kept ready.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use apptainer::instance::{
    Checkout, Health, InstanceError, Pool, PoolError, PoolSize, PoolStats, Port, Reset, Service,
};
use apptainer::sys::process::{PidFd, Signal};
use fixtures::World;

/// A payload that runs until it is told to end.
const WAIT: [&str; 2] = ["sleep", "10000"];

/// What a script says in it.
async fn said(service: &Service, script: &str) -> String {
    let mut command = service.command("sh").unwrap();
    let output = command.args(["-c", script]).output().await.unwrap();
    String::from_utf8(output.stdout.to_vec()).unwrap()
}

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

/// Waits until this is true of the pool.
async fn until(pool: &Pool, wanted: impl Fn(&PoolStats) -> bool) {
    let reached = async {
        while !wanted(&pool.stats()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
    assert!(reached.is_ok(), "{:?}", pool.stats());
}

/// Begins a check-out, which has to wait.
async fn wait_in(check_out: &mut std::pin::Pin<&mut impl Future>) {
    poll_fn(|context| {
        assert!(check_out.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

fn refused_fields(error: PoolError) -> Vec<String> {
    match error {
        PoolError::Spec(error) => error.findings.into_iter().map(|one| one.field).collect(),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn what_is_given_back_is_replaced_by_a_fresh_one() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world.spec().temporary_overlay().command(WAIT);
    let pool = supervisor.pool(spec).size(PoolSize::new(2, 3));
    let pool = pool.open().await.unwrap();
    assert!(pool.stats().idle >= 2);
    let first = pool.check_out().await.unwrap();
    assert_eq!(said(&first, "echo secret > /x; cat /x").await, "secret\n");
    let name = first.name().to_owned();
    first.give_back().await.unwrap();
    assert!(supervisor.service(&name).is_none());
    let mut out = Vec::new();
    for _ in 0..3 {
        let next = pool.check_out().await.unwrap();
        assert_ne!(next.name(), name);
        assert_eq!(
            said(&next, "cat /x 2> /dev/null; echo there").await,
            "there\n"
        );
        out.push(next);
    }
    assert_eq!(pool.stats().in_use, 3);
    out.clear();
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
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
async fn who_waits_for_too_long_is_told() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool
        .size(PoolSize::new(1, 1))
        .timeout(Duration::from_millis(20));
    let pool = pool.open().await.unwrap();
    let held = pool.check_out().await.unwrap();
    let error = pool.check_out().await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    held.give_back().await.unwrap();
    until(&pool, |stats| stats.idle == 1).await;
    drop(pool.check_out().await.unwrap());
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_not_well_is_never_handed_out() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 2)).open().await.unwrap();

    let killed = supervisor.services().remove(0);
    let first = PidFd::open(killed.pid()).unwrap();
    first.signal(Signal::KILL).unwrap();
    assert!(killed.ended().await.is_final());
    let other = pool.check_out().await.unwrap();
    assert_ne!(other.name(), killed.name());
    assert_eq!(said(&other, "echo well").await, "well\n");
    assert_eq!(pool.stats().discarded_total, 1);

    until(&pool, |stats| stats.idle == 1).await;
    let is_idle = |service: &Service| service.name() != other.name();
    let paused = supervisor.services().into_iter().find(is_idle).unwrap();
    paused.pause().await.unwrap();
    let third = pool.check_out().await.unwrap();
    assert_ne!(third.name(), paused.name());
    assert_eq!(pool.stats().discarded_total, 2);
    assert!(paused.ended().await.is_final());
    drop((other, third));
    pool.drain(Duration::MAX).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_than_may_be() {
    const MAX: usize = 3;
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, MAX)).reset(Reset::Reuse);
    let pool = pool.max_uses(4).timeout(Duration::from_secs(300));
    let pool = pool.open().await.unwrap();
    let in_use = Arc::new(AtomicUsize::new(0));
    let takers: Vec<_> = (0..32)
        .map(|_| {
            let (pool, supervisor) = (pool.clone(), supervisor.clone());
            let in_use = Arc::clone(&in_use);
            tokio::spawn(async move {
                let checkout = pool.check_out().await.unwrap();
                assert!(in_use.fetch_add(1, Ordering::SeqCst) < MAX);
                assert_eq!(said(&checkout, "echo mine").await, "mine\n");
                assert!(supervisor.services().len() <= MAX);
                in_use.fetch_sub(1, Ordering::SeqCst);
            })
        })
        .collect();
    for taker in takers {
        taker.await.unwrap();
    }
    assert_eq!(pool.stats().checked_out_total, 32);
    pool.drain(Duration::MAX).await.unwrap();
    assert!(pool.stats().started_total >= 8);
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_check_out_that_is_dropped_loses_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 1)).open().await.unwrap();
    let held = pool.check_out().await.unwrap();
    for _ in 0..20 {
        let mut check_out = pin!(pool.check_out());
        wait_in(&mut check_out).await;
    }
    assert_eq!(pool.stats().waiting, 0);
    {
        let mut check_out = pin!(pool.check_out());
        wait_in(&mut check_out).await;
        held.give_back().await.unwrap();
        // It is on its way to who does not take it.
        until(&pool, |stats| stats.in_use == 1).await;
    }
    assert_eq!(pool.stats().idle, 1);
    drop(pool.check_out().await.unwrap());
    let stats = pool.stats();
    assert_eq!((stats.started_total, stats.checked_out_total), (2, 2));
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_cannot_be_started_cannot_be_pooled() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(["/not/there"]));
    let error = pool.size(PoolSize::new(3, 4)).open().await.unwrap_err();
    let PoolError::Start(error) = error else {
        panic!("{error}");
    };
    assert!(matches!(*error, InstanceError::Payload(_)), "{error}");
    assert!(supervisor.services().is_empty());

    // Never found well.
    let spec = world
        .spec()
        .command(WAIT)
        .start_deadline(Duration::from_secs(2));
    let spec = spec.health(Health::file("/never"));
    let error = supervisor.pool(spec).open().await.unwrap_err();
    let PoolError::Start(error) = error else {
        panic!("{error}");
    };
    assert!(matches!(*error, InstanceError::TimedOut { .. }), "{error}");
    assert!(supervisor.services().is_empty());
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn who_waits_in_vain_is_told_why_and_starts_are_tried_again() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let data = world.folder().join("data");
    std::fs::create_dir(&data).unwrap();
    let spec = world.spec().bind(&data, "/mnt").command(WAIT);
    let pool = supervisor.pool(spec).size(PoolSize::new(0, 2));
    let pool = pool.open().await.unwrap();
    assert_eq!(pool.stats(), PoolStats::default());
    std::fs::remove_dir(&data).unwrap();
    let error = pool.check_out().await.unwrap_err();
    assert!(matches!(error, PoolError::Start(_)), "{error}");
    assert_eq!(pool.stats().failed_total, 1);
    std::fs::create_dir(&data).unwrap();
    let checkout = pool.check_out().await.unwrap();
    assert_eq!(said(&checkout, "ls /mnt").await, "");
    drop(checkout);
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_only_one_can_have_or_stays_written_is_refused() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let fixed = || {
        world
            .spec()
            .name("web")
            .port(Port::named("http").number(80))
    };
    let error = supervisor.pool(fixed()).open().await.unwrap_err();
    assert_eq!(refused_fields(error), ["name", "ports[0].number"]);
    let written = supervisor.pool(world.spec().temporary_overlay());
    let error = written.reset(Reset::Reuse).open().await.unwrap_err();
    assert_eq!(refused_fields(error), ["temporary_overlay"]);
    let none = supervisor.pool(world.spec()).size(PoolSize::new(0, 0));
    let error = none.open().await.unwrap_err();
    assert!(matches!(error, PoolError::Size { .. }), "{error}");

    // One at a time can.
    let spec = world.spec().name("web").command(WAIT);
    let pool = supervisor.pool(spec).size(PoolSize::new(1, 1));
    let pool = pool.open().await.unwrap();
    for _ in 0..2 {
        assert_eq!(pool.check_out().await.unwrap().name(), "web");
    }
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_idle_for_too_long_is_stopped() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let size = PoolSize::new(1, 3).idle_limit(Duration::from_millis(50));
    let pool = supervisor.pool(world.spec().command(WAIT)).size(size);
    let pool = pool.reset(Reset::Reuse).open().await.unwrap();
    let mut out: Vec<Checkout> = Vec::new();
    for _ in 0..3 {
        out.push(pool.check_out().await.unwrap());
    }
    out.clear();
    until(&pool, |stats| {
        let others = stats.in_use + stats.resetting + stats.stopping;
        stats.idle == 1 && others == 0
    })
    .await;
    assert_eq!(supervisor.services().len(), 1);
    pool.shut_down().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_in_use_outlives_a_shut_down_and_not_a_drain() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 4)).open().await.unwrap();
    let [used, held, kept] = [
        pool.check_out().await.unwrap(),
        pool.check_out().await.unwrap(),
        pool.check_out().await.unwrap(),
    ];
    let kept = kept.keep();
    pool.shut_down().await.unwrap();
    assert_eq!(supervisor.services().len(), 3);
    assert!(pool.check_out().await.unwrap_err().is_closed());
    assert_eq!(said(&used, "echo there").await, "there\n");
    used.give_back().await.unwrap();
    assert_eq!(supervisor.services().len(), 2);

    pool.drain(Duration::from_millis(20)).await.unwrap();
    assert!(held.state().is_final());
    held.give_back().await.unwrap();
    assert_eq!(pool.stats().in_use, 0);
    let left = supervisor.services();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].name(), kept.name());
    kept.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn who_waits_is_told_that_it_is_shut_down() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let pool = supervisor.pool(world.spec().command(WAIT));
    let pool = pool.size(PoolSize::new(1, 1)).open().await.unwrap();
    let held = pool.check_out().await.unwrap();
    let mut check_out = pin!(pool.check_out());
    wait_in(&mut check_out).await;
    pool.shut_down().await.unwrap();
    assert!(check_out.await.unwrap_err().is_closed());
    drop(held);
    pool.drain(Duration::MAX).await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_leaves_nothing() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let builder = || supervisor.pool(world.spec().command(WAIT));
    let pool = builder().size(PoolSize::new(3, 4)).open().await.unwrap();
    let held = pool.check_out().await.unwrap();
    drop(pool);
    assert_eq!(said(&held, "echo there").await, "there\n");
    drop(held);

    for millis in [1, 50, 150] {
        let opening = builder().size(PoolSize::new(2, 2)).open();
        let opened = tokio::time::timeout(Duration::from_millis(millis), opening);
        drop(opened.await);
    }
    drop(supervisor);
    tokio::task::spawn_blocking(|| world.finish())
        .await
        .unwrap();
}

#[test]
fn a_runtime_that_ends_takes_its_pools_with_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (world, pool, held) = runtime.block_on(async {
        let world = World::new().await;
        let supervisor = world.supervisor().await;
        let pool = supervisor.pool(world.spec().command(WAIT));
        let pool = pool.size(PoolSize::new(2, 4)).open().await.unwrap();
        let held = pool.check_out().await.unwrap();
        (world, pool, held)
    });
    drop(runtime);
    assert_eq!(pool.stats().idle, 0);
    drop((held, pool));
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

//! Instances that are kept ready.

mod closed;
mod reused;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

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

//! Ends of pools.

use std::pin::pin;
use std::time::Duration;

use apptainer::instance::PoolSize;
use fixtures::World;

use super::{WAIT, said, wait_in};

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

//! Programs on one image store that are killed at any moment: what is visible is whole, and
//! nothing is left. They take minutes, so `scripts/chaos` runs them, and no other does.

mod images;
mod leftovers;
mod watcher;
mod worker;
mod workers;

use std::env;
use std::time::{Duration, Instant};

use apptainer::image::{Locking, Prune};
use fixtures::World;

use crate::dice::Dice;
use images::Images;
use watcher::Watcher;
use workers::Workers;

/// How many programs there are at a time that are killed.
const WORKERS: usize = 3;

/// And how many that are not, and see what the others do.
const BYSTANDERS: usize = 2;

/// A moment is so long at most.
const MOMENT: Duration = Duration::from_secs(1);

/// How long what is left may take, and how long a lease lasts.
const SOON: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(60);

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

#[tokio::test]
#[ignore = "takes minutes: run by scripts/chaos"]
async fn kills_at_any_moment_leave_the_store_whole() {
    chaos(Locking::Flock, number("CHAOS_KILLS", 300)).await;
}

#[tokio::test]
#[ignore = "takes minutes: run by scripts/chaos"]
async fn kills_at_any_moment_leave_a_store_with_leases_whole() {
    chaos(Locking::Lease, number("CHAOS_KILLS", 300).div_ceil(10)).await;
}

async fn chaos(locking: Locking, kills: u64) {
    let seed = number("CHAOS_SEED", 1);
    println!("seed {seed}, {kills} kills, {locking:?}");
    let world = World::with(|builder| builder.locking(locking)).await;
    let images = Images::new(&world);
    let temporary = world.folder().join("tmp");
    let exports = world.folder().join("exports");
    for folder in [&temporary, &exports] {
        std::fs::create_dir(folder).unwrap();
    }
    let mut dice = Dice::new(seed);

    let watcher = Watcher::start(world.client().store_dir(), &exports);
    let mut workers = Workers::start(&world, &images, locking, &mut dice);
    let started = Instant::now();
    let mut killed = 0;
    while killed < kills {
        tokio::time::sleep(MOMENT.mul_f64(dice.fraction())).await;
        // Now and then it is as when a machine's memory is full.
        let victims = if dice.below(20) == 0 { WORKERS } else { 1 };
        for _ in 0..victims {
            workers.kill_one(dice.below(WORKERS));
            killed += 1;
        }
        workers.restart(&mut dice);
    }
    let (operations, failures) = workers.end();
    println!("{operations:?} in {:.0?}", started.elapsed());

    let limit = match locking {
        Locking::Lease => SOON + LEASE,
        _ => SOON,
    };
    for image in images.all() {
        let found = image.acquire(world.client()).timeout(limit);
        let found = found.await.unwrap_or_else(|error| panic!("{error}"));
        image.run(&found).await.unwrap();
    }
    let (looks, violations) = watcher.end();
    println!("{looks} entries looked at");

    let client = world.client();
    let store = client.store();
    let damaged = store.verify().await.unwrap();
    let mut leaked = leftovers::after_pruning(client, limit).await;
    leaked.extend(leftovers::in_folder(&temporary));
    leaked.extend(leftovers::mounts(world.folder()));
    for what in failures.iter().chain(&violations).chain(&leaked) {
        println!("{what}");
    }
    let operations: usize = operations.values().sum();
    println!(
        "{killed} kills, {operations} operations, {} leaked",
        leaked.len()
    );
    assert!(failures.is_empty(), "{} calls failed", failures.len());
    assert!(violations.is_empty(), "{} were half", violations.len());
    assert!(damaged.is_empty(), "{damaged:?}");
    assert!(leaked.is_empty());

    images::age(client.store_dir());
    let all = Prune::new().older_than(Duration::ZERO);
    assert!(store.prune(all).await.unwrap().in_use.is_empty());
    assert_eq!(store.usage().await.unwrap().total(), 0);
    world.finish();
}

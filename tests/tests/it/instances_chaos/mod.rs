//! Programs that start, use and stop instances, and are killed at any moment with all that
//! these are made of: what is said of them is true, and nothing is left.
//!
//! A few cycles are an ordinary test; `scripts/chaos` runs many.

mod killer;
mod leftovers;
mod payload;
mod worker;
mod workers;

use std::env;
use std::time::{Duration, Instant};

use fixtures::World;
use tokio::signal::unix::{SignalKind, signal};

use crate::dice::Dice;
use killer::Killer;
use workers::Workers;

/// How many programs there are at a time, and what each of them does at once.
const WORKERS: usize = 4;
const AT_ONCE: usize = 4;

/// How long it is between two kills at most.
const MOMENT: Duration = Duration::from_millis(500);

/// How long anything may take, on a machine with much to do.
const GUARD: Duration = Duration::from_secs(60);

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

#[tokio::test]
#[ignore = "takes minutes: run by scripts/chaos"]
async fn kills_at_any_moment_leave_no_instance() {
    chaos(number("CHAOS_CYCLES", 1000), number("CHAOS_SEED", 1)).await;
}

#[tokio::test]
async fn a_few_kills_leave_no_instance() {
    chaos(24, 1).await;
}

async fn chaos(cycles: u64, seed: u64) {
    println!("seed {seed}, {cycles} cycles");
    let world = World::new().await;
    // Apptainer tells its parent so when an instance has begun: that is this program, where that
    // was killed.
    let _told = signal(SignalKind::user_defined1()).unwrap();
    let _failed = signal(SignalKind::user_defined2()).unwrap();
    for folder in ["tmp", "touched"] {
        std::fs::create_dir(world.folder().join(folder)).unwrap();
    }
    let _ = world.busybox().await;
    let mut dice = Dice::new(seed);
    let mut killer = Killer::new(&world);
    let mut workers = Workers::start(&world, &mut dice);
    let started = Instant::now();
    let mut progress = (0, started);
    while workers.cycles() < cycles {
        let pause = MOMENT.mul_f64(dice.fraction());
        let until = Instant::now() + pause;
        while Instant::now() < until {
            workers.reap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // What nobody watches is taken away, and what others watch is not.
        let is_quiet = workers.have_opened();
        if killer.kill_something(&mut dice, &mut workers) && is_quiet && dice.below(3) == 0 {
            workers.hear_of(world.client().reap().await);
        }
        workers.restart(&mut dice);
        if workers.cycles() > progress.0 {
            progress = (workers.cycles(), Instant::now());
        }
        if progress.1.elapsed() > GUARD {
            workers.fail("nothing goes on".to_owned());
            break;
        }
    }
    let took = started.elapsed();
    let said = workers.end().await;
    println!("{:?} in {took:.0?}", said.done);

    let mut leaked = Vec::new();
    match world.client().reap().await {
        Ok(reaped) => leaked.extend(reaped.iter().map(|name| format!("instance {name}"))),
        Err(error) => leaked.push(format!("what cannot be reaped: {error}")),
    }
    leaked.extend(leftovers::of(&world));
    for what in said.failures.iter().chain(&leaked) {
        println!("{what}");
    }
    let (all, failures) = (said.cycles, said.failures.len());
    println!(
        "{all} cycles, kills: {:?}, {failures} untrue, {} leaked",
        killer.kills(),
        leaked.len()
    );
    assert!(said.failures.is_empty(), "{failures} were untrue");
    assert!(leaked.is_empty(), "{} leaked", leaked.len());
    world.finish();
}

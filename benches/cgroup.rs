//! Starting a process in a cgroup, against moving it there once it runs; and
//! `clone3` against `posix_spawn`.
//!
//! - *into a cgroup*: starting `/bin/true` and waiting for it, with the cgroup as
//!   its place from the start, against starting it and then writing its pid to the
//!   group's files. The group has a place in every hierarchy that was to be had.
//! - *spawn*: starting `/bin/true` and waiting for it, in both ways.
//!
//! Each round does both, one right after the other, and every other round the
//! other way round. Medians are of all rounds.

mod harness;

use std::time::Instant;

use apptainer::sys::cgroup::{Cgroup, Controller};
use apptainer::sys::process::{Exit, Mechanism, Spawn};
use harness::{Millis, compare};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("the system lets us").block_on(async {
        ways().await;
        placed().await;
    });
}

/// Starts `/bin/true` and waits for it; `then` runs in between.
fn run(prepare: impl FnOnce(&mut Spawn), then: impl FnOnce(i32)) -> Millis {
    let begin = Instant::now();
    let mut spawn = Spawn::new("/bin/true");
    prepare(&mut spawn);
    let mut child = spawn.spawn().expect("it is there");
    then(child.pid());
    let exit = child.wait().expect("it ends");
    let took = begin.elapsed();
    assert_eq!(exit, Exit::Code(0));
    Millis::from(took)
}

async fn ways() {
    let by = |way| {
        run(
            |spawn| {
                spawn.mechanism(way);
            },
            |_| {},
        )
    };
    compare(
        "spawn of /bin/true",
        ["posix_spawn", "clone3"],
        async || by(Mechanism::PosixSpawn),
        async || by(Mechanism::Clone3),
    )
    .await;
}

async fn placed() {
    let name = format!("apptainer-rs-bench-{}", std::process::id());
    let controllers = [Controller::Memory, Controller::Pids, Controller::Cpu];
    let parent = Cgroup::current().expect("there are cgroups");
    let group = match parent.create(&name, &controllers) {
        Ok(group) => group,
        Err(error) => {
            println!("spawn into a cgroup: not measured: {error}");
            return;
        }
    };
    compare(
        "spawn into a cgroup",
        ["written after", "from the start"],
        async || {
            run(
                |_| {},
                // It may have ended by then, in which case nothing is moved.
                |pid| drop(group.add(pid)),
            )
        },
        async || {
            run(
                |spawn| {
                    spawn.cgroup(group.placement().expect("it is there"));
                },
                |_| {},
            )
        },
    )
    .await;
    group.remove().expect("nothing is in it");
}

//! Having one at once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use apptainer::instance::{Pool, PoolSize};

use crate::life::millis;
use crate::place::{Place, spec};
use crate::report::Row;

const TABLE: &str = "from a pool";
/// How many there are.
const READY: usize = 4;
/// How much less a check-out is to take.
const LESS: f64 = 50.0;

const PROGRAM: &str = "/bin/busybox";

pub(crate) async fn all(rounds: usize) -> Vec<Row> {
    let place = Place::new().await;
    let supervisor = place.supervisor(READY).await;
    let pool = supervisor.pool(spec(&fixtures::busybox_sif()));
    let pool = pool.size(PoolSize::new(READY, READY)).open().await;
    let pool = pool.expect("its instances start");
    let docker = std::env::var("BENCH_DOCKER_RUN").ok();
    if docker.is_none() {
        eprintln!("docker run: not measured, scripts/with-engines did not start it");
    }
    let (mut by_docker, mut had, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let docker = |times: &mut Vec<f64>| {
            if let Some(words) = &docker {
                times.push(docker_run(words));
            }
        };
        if round % 2 == 0 {
            docker(&mut by_docker);
        }
        turn(&pool, &mut had, &mut used).await;
        if round % 2 == 1 {
            docker(&mut by_docker);
        }
    }
    filled(&pool).await;
    pool.shut_down().await.expect("they stop");
    supervisor.shut_down().await.expect("nothing runs");

    let mut rows = Vec::new();
    if !by_docker.is_empty() {
        rows.push(Row::new(TABLE, "docker run", "ms", by_docker));
    }
    let target = rows.first().map(|row| row.p50 / LESS);
    for (name, values) in [("check-out", had), ("check-out and a command", used)] {
        let row = Row::new(TABLE, name, "ms", values);
        rows.push(match target {
            Some(target) => row.at_most(target),
            None => row,
        });
    }
    rows
}

/// Has all instances that are ready, and runs a command in each.
async fn turn(pool: &Pool, had: &mut Vec<f64>, used: &mut Vec<f64>) {
    filled(pool).await;
    let mut all = Vec::new();
    for _ in 0..READY {
        let begin = Instant::now();
        let checkout = pool.check_out().await.expect("one is ready");
        had.push(millis(begin));
        let mut command = checkout.command(PROGRAM).expect("it runs");
        command.arg("true").stdin(apptainer::Stdio::null());
        let output = command.output().await.expect("the program is there");
        used.push(millis(begin));
        assert!(output.status.success(), "{output:?}");
        // Others are started when they are given back.
        all.push(checkout);
    }
    for checkout in all {
        checkout.give_back().await.expect("it stops");
    }
}

/// Waits until all are ready, and nothing else is done for the pool.
async fn filled(pool: &Pool) {
    const PAUSE: Duration = Duration::from_millis(5);
    while pool.stats().idle < READY {
        tokio::time::sleep(PAUSE).await;
    }
}

fn docker_run(words: &str) -> f64 {
    let mut words = words.split(' ');
    let mut docker = Command::new(words.next().expect("there is a program"));
    docker
        .args(words)
        .args([PROGRAM, "true"])
        .stdin(Stdio::null());
    let begin = Instant::now();
    let output = docker.output().expect("it is installed");
    let took = millis(begin);
    assert!(output.status.success(), "{output:?}");
    took
}

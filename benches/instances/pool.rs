//! Having one at once.

use std::path::PathBuf;
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

/// Where the program is in the image, and in Docker's.
const IN_IMAGE: &str = "/bin/busybox";

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
    let mut by_docker = Vec::new();
    let mut times = Times::default();
    for round in 0..rounds {
        let docker = |times: &mut Vec<f64>| {
            if let Some(words) = &docker {
                times.push(docker_run(words));
            }
        };
        if round % 2 == 0 {
            docker(&mut by_docker);
        }
        times.turn(&pool).await;
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
    let Times {
        had,
        used,
        used_first,
    } = times;
    let mut add = |name, values, target: Option<f64>| {
        let row = Row::new(TABLE, name, "ms", values);
        rows.push(target.into_iter().fold(row, Row::at_most));
    };
    add("check-out", had, target);
    add("check-out and a command", used, target);
    add("the same, of the image, never read", used_first, None);
    rows
}

/// What has been measured of the pool.
#[derive(Default)]
struct Times {
    had: Vec<f64>,
    used: Vec<f64>,
    used_first: Vec<f64>,
}

impl Times {
    /// Has all instances that are ready, and runs a command in each.
    async fn turn(&mut self, pool: &Pool) {
        filled(pool).await;
        let in_memory = fixtures::busybox_program();
        let mut all = Vec::new();
        for number in 0..READY {
            let (program, used) = if number % 2 == 0 {
                (in_memory.clone(), &mut self.used)
            } else {
                (PathBuf::from(IN_IMAGE), &mut self.used_first)
            };
            let begin = Instant::now();
            let checkout = pool.check_out().await.expect("one is ready");
            self.had.push(millis(begin));
            let mut command = checkout.command(program).expect("it runs");
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
        .args([IN_IMAGE, "true"])
        .stdin(Stdio::null());
    let begin = Instant::now();
    let output = docker.output().expect("it is installed");
    let took = millis(begin);
    assert!(output.status.success(), "{output:?}");
    took
}

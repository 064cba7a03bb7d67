//! What is seen of instances that run: whether they are well, paused, out of memory.

use std::collections::HashSet;
use std::net::TcpListener;
use std::time::Duration;

use apptainer::instance::{
    EventKind, Health, Limits, LogSettings, Port, Probe, ProbeFailure, Service, State,
};
use apptainer::sys::process::{Exit, Signal};
use fixtures::World;

use super::{WAIT, end, stopped, until};

/// A server of files.
const SERVER: [&str; 6] = ["httpd", "-f", "-p", "127.0.0.1:{port:http}", "-h", "/etc"];

/// Waits until the instance is in this state.
async fn until_is(service: &Service, wanted: &State) {
    let mut events = service.events();
    let state = tokio::time::timeout(
        Duration::from_secs(60),
        events.wait_for(|state| state == wanted || state.is_final()),
    );
    assert_eq!(state.await.expect("it gets there"), *wanted);
}

#[tokio::test]
async fn one_is_ready_when_its_server_answers_and_ill_when_that_does_not() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let health = Health::http("http", "/passwd").interval(Duration::from_millis(50));
    let spec = world
        .spec()
        .port(Port::named("http"))
        .health(health.retries(2).timeout(Duration::from_secs(5)))
        .command(
            ["sh", "-c", "sleep 0.3; exec \"$@\"", "sh"]
                .into_iter()
                .chain(SERVER),
        );
    let service = supervisor.start(&spec).await.unwrap();
    assert_eq!(service.state(), State::Starting);
    until_is(&service, &State::Ready).await;
    let port = service.port("http").unwrap();
    service.probe(&Probe::http(port, "/passwd")).await.unwrap();

    // Halted it listens and does not answer.
    let halt = service
        .command("killall")
        .unwrap()
        .args(["-STOP", "httpd"])
        .status()
        .await;
    assert!(halt.unwrap().success());
    until_is(&service, &State::Unhealthy).await;
    let go_on = service
        .command("killall")
        .unwrap()
        .args(["-CONT", "httpd"])
        .status()
        .await;
    assert!(go_on.unwrap().success());
    let well = tokio::time::timeout(Duration::from_secs(60), async {
        let mut events = service.events();
        events.wait_for(|state| *state == State::Unhealthy).await;
        events.wait_for(|state| *state == State::Ready).await
    });
    assert_eq!(well.await.expect("it is well again"), State::Ready);
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn a_server_of_somebody_else_does_not_make_it_ready() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = theirs.local_addr().unwrap().port();
    let health = Health::tcp(port)
        .interval(Duration::from_millis(20))
        .retries(2);
    let spec = world.spec().health(health).command(WAIT);
    let service = supervisor.start(&spec).await.unwrap();
    let mut events = service.events();
    let reason = loop {
        if let EventKind::HealthCheckFailed { reason, .. } = events.next().await.unwrap().kind {
            break reason;
        }
    };
    let failure = service
        .probe(&Probe::Tcp { port: port.into() })
        .await
        .unwrap_err();
    assert!(
        matches!(failure, ProbeFailure::ListenedToByAnother { .. }),
        "{reason}"
    );
    until_is(&service, &State::Unhealthy).await;
    service.stop().await.unwrap();
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn one_that_ends_before_it_is_ready_is_said_to_have() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let health = Health::file("/never").start_period(Duration::from_secs(600));
    let spec = world.spec().health(health);
    let spec = spec.command(["sh", "-c", "echo it is over >&2; exit 4"]);
    let service = supervisor.start(&spec).await.unwrap();
    let error = service.ready().await.unwrap_err().to_string();
    assert!(
        error.contains("exit code 4") && error.contains("it is over"),
        "{error}"
    );
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn servers_that_choose_their_ports_do_not_collide() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let health = Health::tcp("http");
    let spec = world
        .spec()
        .port(Port::named("http"))
        .health(health)
        .command(SERVER);
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let (supervisor, spec) = (supervisor.clone(), spec.clone());
            tokio::spawn(async move {
                let service = supervisor.start(&spec).await.unwrap();
                service.ready().await.unwrap();
                service.port("http").unwrap()
            })
        })
        .collect();
    let mut ports = HashSet::new();
    for start in starts {
        assert!(ports.insert(start.await.unwrap()));
    }
    assert_eq!(supervisor.services().len(), 8);
    supervisor.shut_down().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_paused_stands_still_and_goes_on() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done";
    let spec = world.spec().command(["sh", "-c", count]);
    let service = supervisor.start(&spec).await.unwrap();
    let mut lines = service.read_logs().follow(true).lines().await.unwrap();
    lines.next().await.unwrap().unwrap();
    let mechanism = service.pause().await.unwrap();
    assert_eq!(mechanism, service.mechanisms().pause);
    assert_eq!(service.state(), State::Paused);
    let length = || std::fs::metadata(&service.logs()[0]).unwrap().len();
    let before = length();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(length(), before);
    service.resume().await.unwrap();
    assert_eq!(service.state(), State::Ready);
    while length() == before {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    service.pause().await.unwrap();
    service.stop().await.unwrap();
    let stopped = stopped(&service).await;
    assert_eq!(stopped.exit, Some(Exit::Signal(Signal::TERM)));
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_is_out_of_memory_is_said_to_be() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let limits = Limits::new().memory(48 << 20);
    // It keeps all that it reads.
    let spec = world.spec().limits(limits).command(["tail", "/dev/zero"]);
    let service = supervisor.start(&spec).await.unwrap();
    let mechanism = service.mechanisms().memory;
    let stopped = stopped(&service).await;
    assert!(stopped.is_out_of_memory, "{mechanism:?}: {stopped:?}");
    assert_eq!(
        stopped.exit,
        Some(Exit::Signal(Signal::KILL)),
        "{mechanism:?}"
    );
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn what_it_uses_is_counted() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let spec = world.spec().command(["sh", "-c", "while :; do :; done"]);
    let service = supervisor.start(&spec).await.unwrap();
    let mut used = Duration::ZERO;
    while used < Duration::from_millis(100) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        used = service.stats().await.unwrap().cpu.usage;
    }
    let stats = service.stats().await.unwrap();
    assert_eq!(stats.mechanism, service.mechanisms().stats);
    assert!(
        stats.memory.current > 0 && stats.processes >= 2,
        "{stats:?}"
    );
    service.stop().await.unwrap();
    assert!(service.stats().await.is_err());
    drop(supervisor);
    world.finish();
}

#[tokio::test]
async fn logs_are_kept_within_bounds_and_nothing_is_lost() {
    let world = World::new().await;
    let supervisor = world.supervisor().await;
    let logs = LogSettings::default()
        .max_size(16 << 10)
        .max_files(200)
        .timestamps(true);
    let write = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exec sleep 10000";
    let spec = world.spec().logs(logs).command(["sh", "-c", write]);
    let service = supervisor.start(&spec).await.unwrap();
    let mut lines = service
        .read_logs()
        .follow(true)
        .timestamps(true)
        .lines()
        .await
        .unwrap();
    for number in 0..20000 {
        let line = lines.next().await.unwrap().unwrap();
        assert_eq!(line.text(), format!("line {number}"));
        assert!(line.at.is_some());
    }
    let length = || std::fs::metadata(&service.logs()[0]).unwrap().len();
    until("what is past the bound is in other files", || {
        length() <= 16 << 10
    })
    .await;
    let mut again = service.read_logs().timestamps(true).lines().await.unwrap();
    for number in 0..20000 {
        let line = again.next().await.unwrap().unwrap();
        assert_eq!(line.text(), format!("line {number}"));
        assert!(line.at.is_some());
    }
    service.stop().await.unwrap();
    assert!(lines.next().await.is_none());
    assert!(end(&service).await.is_final());
    drop(supervisor);
    world.finish();
}

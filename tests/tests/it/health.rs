//! Whether an instance is well, asked from outside.

mod file;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use apptainer::instance::{Health, Probe, ProbeFailure};
use apptainer::sys::command::Network;
use apptainer::sys::process::{Pid, PidFd, Process, Signal};
use apptainer::{Child, Instance};
use fixtures::World;
use tokio::net::TcpSocket;

/// A port that nobody else is given; whoever sets `SO_REUSEADDR` can listen there.
struct Reserved(TcpSocket);

impl Reserved {
    fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from(([0, 0, 0, 0], 0))).unwrap();
        Self(socket)
    }

    fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

fn tcp(port: u16) -> Probe {
    Health::tcp(port).probe
}

fn file(path: impl AsRef<Path>) -> Probe {
    Health::file(path.as_ref()).probe
}

fn command<const N: usize>(argv: [&str; N]) -> Probe {
    Health::command(argv).probe
}

/// Waits until a probe passes.
async fn until_well(instance: &Instance, probe: &Probe) {
    for _ in 0..2000 {
        match instance.probe(probe).await {
            Ok(_) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{:?}", instance.probe(probe).await);
}

async fn failure(instance: &Instance, probe: &Probe) -> ProbeFailure {
    instance.probe(probe).await.unwrap_err()
}

/// Runs a program that serves something until it is dropped.
async fn serve(instance: &Instance, argv: &[&str]) -> Child {
    let mut command = instance.command(argv[0]);
    command.args(&argv[1..]);
    command.spawn().await.unwrap()
}

#[tokio::test]
async fn a_server_is_well_while_it_listens_and_answers() {
    let world = World::new().await;
    let site = world.folder().join("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("index.html"), "hello").unwrap();
    let container = world.container().await.bind(&site, "/mnt");
    let instance = container.start().await.unwrap();
    let reserved = Reserved::new();
    let port = reserved.number();
    let http = |path: &str| Probe::http(port, path);
    for probe in [tcp(port), http("/")] {
        let failure = failure(&instance, &probe).await;
        let expected =
            |failed| matches!(failed, ProbeFailure::NotListening { port: p } if p == port);
        assert!(expected(failure));
    }
    let address = format!("127.0.0.1:{port}");
    let mut server = serve(&instance, &["httpd", "-f", "-p", &address, "-h", "/mnt"]).await;
    until_well(&instance, &tcp(port)).await;
    instance.probe(&http("/")).await.unwrap();
    instance.probe(&http("/index.html?x=%20")).await.unwrap();
    let missing = failure(&instance, &http("/missing")).await;
    assert!(
        matches!(missing, ProbeFailure::Status { code: 404 }),
        "{missing:?}"
    );
    let expects_it = Probe::Http {
        port: port.into(),
        path: "/missing".to_owned(),
        status: 404..=404,
    };
    instance.probe(&expects_it).await.unwrap();
    server.kill().await.unwrap();
    let gone = failure(&instance, &tcp(port)).await;
    assert!(
        matches!(gone, ProbeFailure::NotListening { .. }),
        "{gone:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn somebody_elses_server_at_the_port_does_not_count() {
    let world = World::new().await;
    let container = world.container().await;
    let instance = container.start().await.unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    for probe in [tcp(port), Probe::http(port, "/")] {
        let failure = failure(&instance, &probe).await;
        let me = Pid::try_from(std::process::id()).unwrap();
        assert!(
            matches!(failure, ProbeFailure::ListenedToByAnother { pid: Some(pid), .. } if pid == me),
            "{failure:?}"
        );
        assert!(failure.to_string().contains(&me.to_string()), "{failure}");
    }
    // Nor was it connected to.
    server.set_nonblocking(true).unwrap();
    assert!(server.accept().is_err());
    // Another instance is somebody else, too.
    let reserved = Reserved::new();
    let port = reserved.number();
    let other = container.start().await.unwrap();
    let theirs = serve(&other, &["httpd", "-f", "-p", &port.to_string()]).await;
    until_well(&other, &tcp(port)).await;
    let failure = failure(&instance, &tcp(port)).await;
    assert!(
        matches!(failure, ProbeFailure::ListenedToByAnother { .. }),
        "{failure:?}"
    );
    drop(theirs);
    other.stop().await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_server_in_the_background_is_the_instances() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let reserved = Reserved::new();
    let port = reserved.number();
    // It forks, and is below the container's first process then.
    let mut server = instance.command("httpd");
    let status = server.args(["-p", &port.to_string()]).status().await;
    assert!(status.unwrap().success());
    until_well(&instance, &tcp(port)).await;
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_server_for_ipv6_alone_is_reached() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("not tested: there is no IPv6 here");
    } else {
        let reserved = Reserved::new();
        let port = reserved.number();
        let address = format!("[::1]:{port}");
        let _server = serve(&instance, &["httpd", "-f", "-p", &address, "-h", "/bin"]).await;
        until_well(&instance, &tcp(port)).await;
        instance.probe(&Probe::http(port, "/sh")).await.unwrap();
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_server_that_speaks_no_http_is_told_by_what_it_says() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let reserved = Reserved::new();
    let port = reserved.number();
    let argv = [
        "nc",
        "-ll",
        "-p",
        &port.to_string(),
        "-e",
        "echo",
        "SSH-2.0",
    ];
    let _server = serve(&instance, &argv).await;
    until_well(&instance, &tcp(port)).await;
    let failure = failure(&instance, &Probe::http(port, "/")).await;
    assert!(
        matches!(&failure, ProbeFailure::NotHttp { start } if start == "SSH-2.0\n"),
        "{failure:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn in_a_network_of_its_own_it_is_seen_to_listen_and_not_asked() {
    let world = World::new().await;
    let container = world.container().await.flags(|flags| {
        flags.net(true).network(Network::NONE);
    });
    let instance = container.start().await.unwrap();
    // Somebody else's server, which is in another network.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let missing = failure(&instance, &tcp(port)).await;
    assert!(
        matches!(missing, ProbeFailure::NotListening { .. }),
        "{missing:?}"
    );
    let _server = serve(&instance, &["httpd", "-f", "-p", &port.to_string()]).await;
    until_well(&instance, &tcp(port)).await;
    let failure = failure(&instance, &Probe::http(port, "/")).await;
    assert!(
        matches!(failure, ProbeFailure::OwnNetwork { .. }),
        "{failure:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_command_says_by_its_exit_whether_it_is_well() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    instance.probe(&command(["true"])).await.unwrap();
    let script = "echo out; echo broken >&2; exit 3";
    let failed = failure(&instance, &command(["sh", "-c", script])).await;
    assert!(
        matches!(&failed, ProbeFailure::Exit { status, output } if status.code() == Some(3) && output == "out\nbroken"),
        "{failed:?}"
    );
    let killed = failure(&instance, &command(["sh", "-c", "kill -9 $$"])).await;
    assert!(
        matches!(&killed, ProbeFailure::Exit { status, .. } if status.signal() == Some(Signal::KILL)),
        "{killed:?}"
    );
    let script = "yes | head -c 1000000; echo end; exit 1";
    let loud = failure(&instance, &command(["sh", "-c", script])).await;
    assert!(
        matches!(&loud, ProbeFailure::Exit { output, .. } if output.len() <= 1024 && output.ends_with("y\nend")),
        "{loud:?}"
    );
    let missing = failure(&instance, &command(["nosuch"])).await;
    assert!(
        matches!(&missing, ProbeFailure::Exec(error) if error.is_command_not_found()),
        "{missing:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn of_a_command_that_hangs_nothing_is_left_when_it_is_given_up() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    instance.probe(&command(["true"])).await.unwrap();
    // A number that nobody else sleeps for.
    let time = format!("86{}", std::process::id());
    let script = format!("sleep {time} & sleep {time}");
    let probe = command(["sh", "-c", &script]);
    for _ in 0..5 {
        let limit = Duration::from_millis(200);
        let given_up = tokio::time::timeout(limit, instance.probe(&probe)).await;
        assert!(given_up.is_err());
    }
    for _ in 0..1000 {
        if sleepers(&time) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sleepers(&time), 0);
    instance.probe(&command(["true"])).await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

/// How many processes on this host have this word in their command lines.
fn sleepers(word: &str) -> usize {
    let all = Process::all().unwrap();
    let lines = all
        .iter()
        .filter_map(|process| Process::command_line(process.pid).unwrap());
    lines
        .filter(|line| line.iter().any(|found| found == word.as_bytes()))
        .count()
}

#[tokio::test]
async fn code_of_the_callers_may_ask_too() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let pid = instance.pid();
    let well = Health::custom(move |probed| async move {
        assert_eq!((probed.pid(), probed.port("http")), (pid, None));
        let status = probed.command("true").status().await;
        status.map(drop).map_err(|error| error.to_string())
    });
    instance.probe(&well.probe).await.unwrap();
    let unwell = Health::custom(|_| async { Err("too hot".to_owned()) });
    let failed = failure(&instance, &unwell.probe).await;
    assert!(
        matches!(&failed, ProbeFailure::Custom(why) if why == "too hot"),
        "{failed:?}"
    );
    let panics = Health::custom(|_| async { panic!("a bug") });
    let failed = failure(&instance, &panics.probe).await;
    assert!(
        matches!(&failed, ProbeFailure::Custom(why) if why.contains("panic")),
        "{failed:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn one_that_has_ended_is_not_well_whatever_is_asked() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    let payload = PidFd::open(instance.pid()).unwrap();
    payload.signal(Signal::KILL).unwrap();
    payload.wait_ended(None).unwrap();
    let custom = Health::custom(|_| async { Ok(()) }).probe;
    for probe in [
        tcp(1),
        Probe::http(1, "/"),
        file("/"),
        command(["true"]),
        custom,
    ] {
        let failed = failure(&instance, &probe).await;
        assert!(
            matches!(failed, ProbeFailure::Ended),
            "{probe:?}: {failed:?}"
        );
    }
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_cannot_be_asked_is_told() {
    let world = World::new().await;
    let instance = world.container().await.start().await.unwrap();
    for (probe, told) in [
        (tcp(0), "port"),
        (Probe::http(1, "/\r\nX: y"), "path"),
        (file("relative"), "path"),
        (command([]), "argv"),
    ] {
        let failed = failure(&instance, &probe).await;
        assert!(
            matches!(failed, ProbeFailure::Invalid { field, .. } if field == told),
            "{failed:?}"
        );
    }
    let unknown = failure(&instance, &Health::tcp("http").probe).await;
    assert!(
        matches!(&unknown, ProbeFailure::UnknownPort { name } if name == "http"),
        "{unknown:?}"
    );
    instance.stop().await.unwrap();
    world.finish();
}

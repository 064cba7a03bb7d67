//! Copies of what has been written.

use std::process::{Command, Stdio};
use std::time::Instant;

use crate::place::{Place, millis};
use crate::report::Row;

/// Writes what is to be copied, with what every shell has.
const FILL: &str = "mkdir -p /work && cd /work && \
    dd if=/dev/urandom of=large bs=1048576 count=64 2>/dev/null && \
    i=0 && while [ $i -lt 1000 ]; do echo $i >small-$i || exit; i=$((i+1)); done";

pub(crate) async fn all(place: &Place, rounds: usize) -> Vec<Row> {
    let docker = Docker::find();
    if docker.is_none() {
        eprintln!("docker commit: not measured, scripts/with-engines did not start it");
    }
    let workspace = place
        .workspace_of(fixtures::busybox_sif())
        .start()
        .await
        .expect("it starts");
    let filled = workspace.execute(FILL).await.expect("it runs");
    assert!(filled.success(), "{filled:?}");
    if let Some(docker) = &docker {
        docker.run(&["exec", &docker.container, "/bin/busybox", "sh", "-c", FILL]);
    }
    let [mut by_docker, mut forks, mut images, mut snapshots]: [Vec<f64>; 4] = Default::default();
    // The first is to warm up.
    for round in 0..=rounds {
        let by_them = docker.as_ref().map(Docker::fork);
        let begin = Instant::now();
        let fork = workspace.fork().await.expect("there is room");
        let forked = millis(begin);
        let checked = fork.execute("test -s /work/small-999").await;
        assert!(checked.expect("it runs").success());
        fork.stop().await.expect("it stops");
        let begin = Instant::now();
        workspace.snapshot().await.expect("there is room");
        let snapshot = millis(begin);
        if round > 0 {
            if let Some([committed, whole]) = by_them {
                by_docker.push(whole);
                images.push(committed);
            }
            forks.push(forked);
            snapshots.push(snapshot);
        }
    }
    workspace.stop().await.expect("it stops");

    let table = |title: &str, them: (&str, Vec<f64>), ours: (&str, Vec<f64>)| {
        let measured = [them, ours]
            .into_iter()
            .filter(|(_, times)| !times.is_empty());
        let row = |(name, times)| Row::new(title, name, "ms", times);
        measured.map(row).collect::<Vec<_>>()
    };
    let forks = table(
        "fork",
        ("docker commit, docker run", by_docker),
        ("Workspace::fork", forks),
    );
    let images = table(
        "an image of it",
        ("docker commit", images),
        ("Workspace::snapshot", snapshots),
    );
    [forks, images].concat()
}

/// A client of a daemon with a container.
struct Docker {
    socket: String,
    container: String,
    cgroup: String,
}

impl Docker {
    fn find() -> Option<Self> {
        Some(Self {
            socket: std::env::var("BENCH_DOCKER_SOCKET").ok()?,
            container: std::env::var("BENCH_DOCKER_CONTAINER").ok()?,
            cgroup: std::env::var("BENCH_DOCKER_CGROUP").ok()?,
        })
    }

    fn run(&self, words: &[&str]) {
        let host = format!("unix://{}", self.socket);
        let mut docker = Command::new("docker");
        docker.args(["--host", &host]).args(words);
        let status = docker.stdin(Stdio::null()).stdout(Stdio::null()).status();
        assert!(status.expect("it is installed").success(), "{words:?}");
    }

    /// Until there is an image, and until a container of it runs.
    fn fork(&self) -> [f64; 2] {
        const IMAGE: &str = "bench-fork";
        let begin = Instant::now();
        self.run(&["commit", &self.container, IMAGE]);
        let committed = millis(begin);
        let words = ["run", "--detach", "--network", "none", "--name", IMAGE];
        let place = ["--cgroup-parent", &self.cgroup, IMAGE];
        let program = ["/bin/busybox", "sleep", "1000"];
        self.run(&[&words[..], &place, &program].concat());
        let whole = millis(begin);
        self.run(&["rm", "--force", IMAGE]);
        self.run(&["rmi", IMAGE]);
        [committed, whole]
    }
}

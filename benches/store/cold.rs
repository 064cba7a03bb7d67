//! What is not there, large.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apptainer::image::Phase;
use fixtures::Registry;
use nix::sys::resource::{UsageWho, getrusage};

use crate::place::{Place, client};
use crate::report::Row;
use crate::rows::{percentile, sorted};

/// How much of this machine's files is in an image, in bytes.
const SIZE: u64 = 300 * 1000 * 1000;
/// How much longer ours may take.
const TARGET: f64 = 1.03;

pub(crate) async fn all(registry: &Registry, rounds: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (title, layers) in [("cold, 1 layer", 1), ("cold, 5 layers", 5)] {
        let image = format!("large:{layers}");
        push(registry, layers, &image);
        let (mut by_hand, mut ours) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round % 2 == 0 {
                by_hand.push(pull_by_hand(registry, &image));
                ours.push(pull(registry, &image).await);
            } else {
                ours.push(pull(registry, &image).await);
                by_hand.push(pull_by_hand(registry, &image));
            }
        }
        let by_hand = row(title, "apptainer pull", &by_hand);
        let target = by_hand.p50_us * TARGET;
        rows.push(by_hand);
        rows.push(row(title, "apptainer crate", &ours).with_target(target));
    }
    rows
}

/// One pull.
struct Pulled {
    took: Duration,
    /// Processor time.
    used: Duration,
    phases: Vec<(Phase, Duration)>,
}

fn row(table: &str, name: &str, pulls: &[Pulled]) -> Row {
    let times: Vec<_> = pulls.iter().map(|pulled| pulled.took).collect();
    let mut row = Row::new(table, name, &times);
    row.found(
        "processor, s",
        median(pulls.iter().map(|pulled| pulled.used)),
    );
    let phases = pulls.iter().flat_map(|pulled| &pulled.phases);
    let mut phases: Vec<_> = phases.map(|(phase, _)| *phase).collect();
    phases.dedup();
    for phase in phases {
        let times = pulls.iter().map(|pulled| pulled.time_in(phase));
        row.found(&format!("{phase:?}, s"), median(times));
    }
    row
}

impl Pulled {
    fn time_in(&self, phase: Phase) -> Duration {
        let parts = self.phases.iter().filter(|(other, _)| *other == phase);
        parts.map(|(_, time)| *time).sum()
    }
}

/// In seconds, to the millisecond.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let times = sorted(times.map(|time| time.as_secs_f64()).collect());
    let median = percentile(&times, 50).expect("there are some");
    (median * 1e3).round() / 1e3
}

fn pull_by_hand(registry: &Registry, image: &str) -> Pulled {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let path = |name: &str| folder.path().join(name);
    let meter = Meter::start();
    let pulled = Command::new("apptainer")
        .args(["pull", "--disable-cache", "--no-https"])
        .arg(path("image.sif"))
        .arg(registry.reference(image))
        .env("APPTAINER_CACHEDIR", path("cache"))
        .env("APPTAINER_TMPDIR", folder.path())
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .expect("it is installed");
    let pulled_in = meter.stop(Vec::new());
    let stderr = String::from_utf8_lossy(&pulled.stderr);
    assert!(pulled.status.success(), "{stderr}");
    pulled_in
}

async fn pull(registry: &Registry, image: &str) -> Pulled {
    let place = Place::new();
    let client = client(place.path(), false).await;
    let entered = Arc::new(Mutex::new(Vec::<(Phase, Instant)>::new()));
    let enter = Arc::clone(&entered);
    let asked = client.image(registry.reference(image)).no_https();
    let asked = asked.on_progress(move |progress| {
        let mut entered = enter.lock().expect("nobody panics with it");
        if entered.last().is_none_or(|last| last.0 != progress.phase) {
            entered.push((progress.phase, Instant::now()));
        }
    });
    let meter = Meter::start();
    let image = asked.await.expect("it is in the registry");
    let entered = entered.lock().expect("nobody panics with it");
    let phases = entered.windows(2);
    let phases = phases.map(|pair| (pair[0].0, pair[1].1 - pair[0].1));
    let pulled = meter.stop(phases.collect());
    drop(image);
    pulled
}

/// Measures a pull from a moment at which nothing is left to be written.
struct Meter {
    begin: Instant,
    used: Duration,
}

impl Meter {
    fn start() -> Self {
        nix::unistd::sync();
        Self {
            used: used(),
            begin: Instant::now(),
        }
    }

    fn stop(self, phases: Vec<(Phase, Duration)>) -> Pulled {
        Pulled {
            took: self.begin.elapsed(),
            used: used().saturating_sub(self.used),
            phases,
        }
    }
}

/// The processor time of this process and of those that it has waited for.
fn used() -> Duration {
    let of = |who| {
        let usage = getrusage(who).expect("there is such");
        let times = [usage.user_time(), usage.system_time()];
        times.map(|time| {
            let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(u64::try_from(micros).expect("it grows from zero"))
        })
    };
    let times = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].map(of);
    times.into_iter().flatten().sum()
}

/// Puts an image of this machine's files into the registry.
fn push(registry: &Registry, layers: usize, image: &str) {
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let files = files();
    let parts = files.chunks(files.len().div_ceil(layers));
    let archives = parts.enumerate().map(|(number, part)| {
        let archive = folder.path().join(format!("{number}.tar"));
        archive_of(part, &archive);
        archive
    });
    registry.push_layers(&archives.collect::<Vec<_>>(), image);
}

fn archive_of(files: &[PathBuf], archive: &Path) {
    let list = archive.with_extension("list");
    let names = files.iter().map(|path| path.to_string_lossy());
    std::fs::write(&list, names.collect::<Vec<_>>().join("\n")).expect("it is ours to write to");
    let status = Command::new("tar")
        .args(["--absolute-names", "--transform=s,^/,,", "--mode=0755"])
        .args(["--owner=0", "--group=0", "-cf"])
        .arg(archive)
        .arg("-T")
        .arg(list)
        .status();
    assert!(status.expect("tar is installed").success());
}

/// Files of this machine's that everybody can read, so many bytes of them.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/usr/lib"), PathBuf::from("/usr/bin")];
    let mut size = 0;
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            let Ok(entry) = path.symlink_metadata() else {
                continue;
            };
            if entry.is_dir() {
                folders.push(path);
            } else if entry.is_file() && std::fs::File::open(&path).is_ok() {
                size += entry.len();
                found.push(path);
            }
            if size >= SIZE {
                return found;
            }
        }
    }
    found
}

//! Instances that do nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apptainer::instance::{Service, Supervisor};
use apptainer::sys::process::{Pid, Process};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::at_once::{rate, start};
use crate::memory::{Memory, Spent, descriptors};
use crate::place::{Place, spec};
use crate::report::Row;

const FEW: usize = 50;
const MANY: usize = 200;
const AT_ONCE: usize = 16;
/// How long it is left alone.
const ALONE: Duration = Duration::from_secs(10);
/// How much more than nothing they may cost in that time, in µs: a ten-thousandth of a processor.
const MORE_US: f64 = 1000.0;
/// After that threads have ended that have nothing to do.
const SETTLED: Duration = Duration::from_secs(12);

pub(crate) async fn all() -> Vec<Row> {
    raise_limit();
    let place = Place::new().await;
    let supervisor = place.supervisor(AT_ONCE).await;
    let spec = spec(&fixtures::busybox_sif()).command(["sleep", "10000"]);
    // What there is once, whatever comes, is not an instance's.
    start(&supervisor, &spec, AT_ONCE).await;
    for service in supervisor.services() {
        service.stop().await.expect("it stops");
    }
    let none = Taken::settled().await;
    start(&supervisor, &spec, FEW).await;
    let few = Taken::settled().await;
    let begin = Instant::now();
    start(&supervisor, &spec, MANY - FEW).await;
    let rate = rate(MANY - FEW, begin);
    let many = Taken::settled().await;

    let mut rows = taken(&[none, few, many]);
    rows.push(program("the last 150, started 16 at once", "/s", rate));
    rows.extend(instances(&supervisor));
    supervisor.shut_down().await.expect("they stop");
    rows
}

/// What was found once of this program.
fn program(name: &str, unit: &str, value: f64) -> Row {
    Row::new("idle, the program", name, unit, vec![value])
}

/// What this program has, with some number of instances.
struct Taken {
    memory: Memory,
    descriptors: f64,
    /// While it was left alone.
    spent: Spent,
}

impl Taken {
    async fn settled() -> Self {
        tokio::time::sleep(SETTLED).await;
        let before = Spent::now();
        tokio::time::sleep(ALONE).await;
        let spent = Spent::now().since(before);
        let own = Pid::try_from(std::process::id()).expect("pids are small");
        Self {
            memory: Memory::of(own).expect("it runs"),
            descriptors: descriptors(),
            spent,
        }
    }
}

fn taken(taken: &[Taken; 3]) -> Vec<Row> {
    let mut rows = Vec::new();
    let [none, ..] = taken;
    for (count, taken) in ["0", "50", "200"].into_iter().zip(taken) {
        let name = |what| format!("{count} instances: {what}");
        rows.push(program(&name("resident"), "KiB", taken.memory.rss));
        rows.push(program(&name("descriptors"), "", taken.descriptors));
        let time = program(&name("processor in 10 s"), "µs", taken.spent.time);
        rows.push(time.at_most(none.spent.time + MORE_US));
        rows.push(program(&name("waits in 10 s"), "", taken.spent.waits));
    }
    let [_, few, many] = taken;
    let count = u32::try_from(MANY - FEW).expect("they are few");
    let each = |many: f64, few: f64| (many - few) / f64::from(count);
    let resident = each(many.memory.rss, few.memory.rss);
    rows.push(program("each: resident", "KiB", resident));
    let descriptors = each(many.descriptors, few.descriptors);
    rows.push(program("each: descriptors", "", descriptors));
    rows
}

/// What the processes of instances take, by which they are.
fn instances(supervisor: &Supervisor) -> Vec<Row> {
    let table = Process::all().expect("/proc is readable");
    let mut found = BTreeMap::<String, [Vec<f64>; 2]>::new();
    for service in supervisor.services() {
        let (mut own, mut all) = (0.0, 0.0);
        for process in processes(&table, &service) {
            let Some(memory) = Memory::of(process.pid) else {
                continue;
            };
            let name = kind(&process.name);
            all += memory.pss;
            if name != "payload" && name != "agent" {
                own += memory.pss;
            }
            let [rss, pss] = found.entry(name.to_owned()).or_default();
            rss.push(memory.rss);
            pss.push(memory.pss);
        }
        let sums = [("all of it", all), ("of that, Apptainer's own", own)];
        for (name, sum) in sums {
            found.entry(name.to_owned()).or_default()[1].push(sum);
        }
    }
    let row = |name: &str, unit, values: Vec<f64>| {
        let is_some = !values.is_empty();
        is_some.then(|| Row::new("idle, an instance", name, unit, values))
    };
    let rows = found.into_iter().flat_map(|(name, [rss, pss])| {
        [
            row(&format!("{name}: proportional"), "KiB", pss),
            row(&format!("{name}: resident"), "KiB", rss),
        ]
    });
    rows.flatten().collect()
}

/// The master, and all that is below it.
fn processes<'a>(table: &'a [Process], service: &Service) -> Vec<&'a Process> {
    let first = table.iter().find(|process| process.pid == service.pid());
    let master = first.map(|first| first.parent);
    let is_master = |process: &&Process| Some(process.pid) == master;
    let mut found: Vec<_> = table.iter().filter(is_master).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).map(|process| process.pid) {
        found.extend(table.iter().filter(|process| process.parent == parent));
        next += 1;
    }
    found
}

/// Which process of an instance it is, by its name.
fn kind(name: &str) -> &str {
    match name {
        "apptainer-agent" => "agent",
        "sleep" => "payload",
        "appinit" => "first process",
        name if name.starts_with("squashfuse") => "file system",
        name if name.starts_with("starter") => "master",
        name => name,
    }
}

/// Has this program have as many descriptors as it may.
fn raise_limit() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is one");
    eprintln!("descriptors: at most {soft} at first, {hard} here");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it is below the hard one");
}

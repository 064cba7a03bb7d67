//! What processes take, as the kernel counts it.

use std::fs;
use std::path::Path;

use apptainer::sys::process::Pid;

/// Memory of a process, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// What is resident.
    pub(crate) rss: f64,
    /// The same, where what is shared with others counts by its part.
    pub(crate) pss: f64,
}

impl Memory {
    /// `None` of one that has ended.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let [rss, pss] = ["Rss:", "Pss:"].map(|name| field(&text, name));
        Some(Self {
            rss: rss?,
            pss: pss?,
        })
    }
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> f64 {
    let entries = fs::read_dir("/proc/self/fd").expect("it is there");
    // One of them is for reading that.
    let count = u32::try_from(entries.count() - 1).expect("they are few");
    f64::from(count)
}

/// What this process has spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// Processor time, in µs.
    pub(crate) time: f64,
    /// How often one of its threads has waited for something.
    pub(crate) waits: f64,
}

impl Spent {
    /// Of all threads that it has now.
    pub(crate) fn now() -> Self {
        let mut spent = Self {
            time: 0.0,
            waits: 0.0,
        };
        for thread in fs::read_dir("/proc/self/task").expect("it is there") {
            let thread = thread.expect("it can be read").path();
            // One may have just ended.
            let read = |name| fs::read_to_string(Path::new(&thread).join(name)).unwrap_or_default();
            let time = read("schedstat");
            let time = time.split(' ').next().and_then(|time| time.parse().ok());
            let nanos: f64 = time.unwrap_or(0.0);
            spent.time += nanos / 1e3;
            spent.waits += field(&read("status"), "voluntary_ctxt_switches:").unwrap_or(0.0);
        }
        spent
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            time: self.time - before.time,
            waits: self.waits - before.waits,
        }
    }
}

/// The number behind this word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

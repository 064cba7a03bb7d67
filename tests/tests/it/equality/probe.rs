//! What a process is, as it can be seen from within: one line of it each.

use std::collections::BTreeMap;
use std::fs;

/// Prints files of `/proc/self`, each below its name. Nothing stands between it and what
/// started it.
pub(super) const FILES: (&str, &[&str]) = (
    "head",
    &[
        "-v",
        "-n",
        "99999",
        "/proc/self/environ",
        "/proc/self/status",
        "/proc/self/stat",
        "/proc/self/limits",
        "/proc/self/mountinfo",
        "/proc/self/cgroup",
        "/proc/self/cpuset",
        "/proc/self/uid_map",
        "/proc/self/gid_map",
        "/proc/self/setgroups",
        "/proc/self/oom_score_adj",
        "/proc/self/personality",
        "/proc/self/coredump_filter",
        "/proc/self/timerslack_ns",
        "/proc/self/loginuid",
    ],
);

/// Prints where links of `/proc/self` lead.
pub(super) const LINKS: (&str, &[&str]) = (
    "ls",
    &[
        "-ln",
        "/proc/self/ns/",
        "/proc/self/fd/",
        "/proc/self/cwd",
        "/proc/self/root",
    ],
);

/// Lines by their names.
pub(super) type Lines = BTreeMap<String, String>;

/// What of `/proc/PID/status` is of no interest, or changes while it is looked at.
const FLEETING: [&str; 28] = [
    "State",
    "Tgid",
    "Ngid",
    "Pid",
    "PPid",
    "FDSize",
    "NStgid",
    "NSpgid",
    "NSsid",
    "VmPeak",
    "VmSize",
    "VmLck",
    "VmPin",
    "VmHWM",
    "VmRSS",
    "RssAnon",
    "RssFile",
    "RssShmem",
    "VmData",
    "VmStk",
    "VmExe",
    "VmLib",
    "VmPTE",
    "VmSwap",
    "HugetlbPages",
    "Name",
    "voluntary_ctxt_switches",
    "nonvoluntary_ctxt_switches",
];

/// Reads what [`FILES`] and [`LINKS`] print.
pub(super) fn read(files: &[u8], listing: &[u8]) -> Lines {
    let mut lines = Lines::new();
    let files = String::from_utf8_lossy(files);
    for file in files.split("==> /proc/self/").skip(1) {
        let (name, text) = file.split_once(" <==\n").unwrap();
        // Before each but the first name there is an empty line.
        let text = text.strip_suffix('\n').unwrap_or(text);
        match name {
            "environ" => read_environment(text, &mut lines),
            "status" => read_status(text, &mut lines),
            "stat" => read_stat(text, &mut lines),
            "limits" => read_limits(text, &mut lines),
            "mountinfo" => read_mounts(text, &mut lines),
            name => {
                lines.insert(name.to_owned(), text.trim_end().to_owned());
            }
        }
    }
    read_links(&String::from_utf8_lossy(listing), &mut lines);
    lines
}

fn read_environment(text: &str, lines: &mut Lines) {
    for variable in text.split_terminator('\0') {
        let (name, value) = variable.split_once('=').unwrap_or((variable, "no value"));
        let before = lines.insert(format!("variable {name}"), value.to_owned());
        assert_eq!(before, None, "{name} is there twice");
    }
}

fn read_status(text: &str, lines: &mut Lines) {
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        let value = match name {
            name if FLEETING.contains(&name) => continue,
            // In how many namespaces it has a pid.
            "NSpid" => value.split_whitespace().count().to_string(),
            // Of how many that can be queued, not how many are.
            "SigQ" => value.split('/').next_back().unwrap().to_owned(),
            _ => value.to_owned(),
        };
        lines.insert(format!("status {name}"), value);
    }
}

/// See proc(5), which counts the fields from 1; those here follow the second.
fn read_stat(text: &str, lines: &mut Lines) {
    let (pid, rest) = text.split_once(' ').unwrap();
    let fields: Vec<_> = rest
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let field = |number: usize| fields[number - 3];
    for (name, number) in [
        ("terminal", 7),
        ("priority", 18),
        ("nice", 19),
        ("exit signal", 38),
        ("real-time priority", 40),
        ("policy", 41),
    ] {
        lines.insert(name.to_owned(), field(number).to_owned());
    }
    for (name, number) in [("leads its group", 5), ("leads its session", 6)] {
        lines.insert(name.to_owned(), (field(number) == pid).to_string());
    }
}

fn read_limits(text: &str, lines: &mut Lines) {
    for line in text.lines().skip(1) {
        let (name, values) = line.split_at(26);
        let values: Vec<_> = values.split_whitespace().take(2).collect();
        lines.insert(format!("limit {}", name.trim()), values.join(" "));
    }
}

/// The numbers of mounts, of devices in memory and of groups of mounts are by order of
/// creation.
fn read_mounts(text: &str, lines: &mut Lines) {
    let ids: Vec<_> = text.lines().map(|line| line.split(' ').next()).collect();
    for (index, line) in text.lines().enumerate() {
        let fields: Vec<_> = line.split(' ').collect();
        let parent = ids.iter().position(|id| *id == Some(fields[1]));
        let fields = fields[2..].iter().map(|field| match field.split_once(':') {
            Some(("0", _)) => "in memory",
            Some((kind @ ("shared" | "master"), _)) => kind,
            _ => field,
        });
        let mount = fields.collect::<Vec<_>>().join(" ");
        lines.insert(
            format!("mount {index:02}"),
            format!("on {parent:?}: {mount}"),
        );
    }
}

fn read_links(text: &str, lines: &mut Lines) {
    let mut folder = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("/proc/self/") {
            folder = name.trim_end_matches("/:");
        }
        // What the directory was read by is no link any more.
        let Some((name, target)) = line.split_once(" -> ") else {
            continue;
        };
        let name = name.rsplit(' ').next().unwrap();
        let name = match name.strip_prefix("/proc/self/") {
            Some(name) => name.to_owned(),
            None => format!("{folder} {name}"),
        };
        let target = match target.split_once(":[") {
            Some((kind @ ("pipe" | "socket"), _)) => kind,
            _ => target,
        };
        lines.insert(name, target.to_owned());
    }
}

/// Tells of namespaces only whether they are the host's: each container has its own.
pub(super) fn without_own_namespaces(lines: Lines) -> Lines {
    let known = |(name, value): (String, String)| {
        let Some(kind) = name.strip_prefix("ns ") else {
            return (name, value);
        };
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let is_host = host.to_str() == Some(&value);
        let whose = if is_host { "the host's" } else { "its own" };
        (name, whose.to_owned())
    };
    lines.into_iter().map(known).collect()
}

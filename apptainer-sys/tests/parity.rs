//! The commands and flags of these bindings against those of the Apptainer that is
//! installed, both ways.

#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Output};

use apptainer_sys::command::{Arity, COMMANDS, CommandInfo, Flag};
use apptainer_sys::{Install, Version};

/// What `--help` does not show, and is there.
const HIDDEN_COMMANDS: &[(&str, &str)] =
    &[("buildcfg", "for scripts"), ("confgen", "for packagers")];

/// The same for flags, on whatever command.
const HIDDEN_FLAGS: &[(&str, &str)] = &[
    ("--containlibs", "set by --nv and --rocm"),
    ("--ignore-fakeroot-command", "for Apptainer's own tests"),
    ("--ignore-subuid", "for Apptainer's own tests"),
    ("--ignore-userns", "for Apptainer's own tests"),
    ("--no-nv", "undoes what the configuration says"),
    ("--no-rocm", "undoes what the configuration says"),
    (
        "--pwd",
        "the older name of --cwd, the only one that 1.2 knows",
    ),
    ("--tmpdir", "usually a variable"),
    (
        "--underlay",
        "deprecated since 1.3, and of use where overlays are not",
    ),
    ("--timeout", "of delete; hardly ever needed"),
];

/// What `--help` shows, and these bindings leave out.
const LEFT_OUT: &[(&str, &str)] = &[
    ("--help", "these types are the help"),
    ("--version", "the command `version` tells more"),
    ("--env", "cannot carry every value; ActionOptions::env can"),
    ("--nohttps", "deprecated: --no-https"),
    (
        "--allow-unsigned",
        "of pull, where it is deprecated and does nothing",
    ),
];

fn apptainer(words: &[&str]) -> Output {
    let install = Install::discover().unwrap();
    Command::new(install.program())
        .args(words)
        .output()
        .unwrap()
}

/// What a command's `--help` shows: its flags, with whether a value follows, and
/// the commands below it.
fn help(name: &[&str]) -> (BTreeMap<String, bool>, Vec<String>) {
    let output = apptainer(&[name, &["--help"]].concat());
    assert!(output.status.success(), "{name:?} has no help");
    let text = String::from_utf8(output.stdout).unwrap();
    let flags = text.lines().filter_map(flag_of).collect();
    let below = text
        .lines()
        .skip_while(|line| *line != "Available Commands:");
    let below = below.skip(1).take_while(|line| !line.is_empty());
    let below = below.map(|line| line.split_whitespace().next().unwrap().to_owned());
    (flags, below.collect())
}

/// `  -b, --bind spec   a path` or `      --bind spec   a path`.
fn flag_of(line: &str) -> Option<(String, bool)> {
    let flag = match line.strip_prefix("      --") {
        Some(flag) => flag,
        None => line.strip_prefix("  -")?.get(1..)?.strip_prefix(", --")?,
    };
    let (name, rest) = flag.split_once(' ')?;
    // A switch is followed by the column of explanations.
    Some((format!("--{name}"), !rest.starts_with(' ')))
}

/// All commands that the binary shows; those that only hold others are left out.
fn shown() -> BTreeMap<String, BTreeMap<String, bool>> {
    const COBRA: [&str; 2] = ["completion", "help"];
    let mut shown = BTreeMap::new();
    let mut next = vec![Vec::<String>::new()];
    while let Some(name) = next.pop() {
        let words: Vec<&str> = name.iter().map(String::as_str).collect();
        let (mut flags, below) = help(&words);
        let is_group = !below.is_empty();
        for word in below {
            if !COBRA.contains(&word.as_str()) {
                next.push([name.clone(), vec![word]].concat());
            }
        }
        flags.remove("--help");
        if !is_group || !flags.is_empty() {
            shown.insert(name.join(" "), flags);
        }
    }
    shown
}

fn flags_of(command: &CommandInfo, found: Version) -> Vec<Flag> {
    let flags = command.flags.iter().copied().flatten().copied();
    flags
        .filter(|flag| flag.since.is_none_or(|feature| feature.since() <= found))
        .collect()
}

fn known(found: Version) -> BTreeMap<String, Vec<Flag>> {
    let commands = COMMANDS
        .iter()
        .filter(|command| command.since.is_none_or(|feature| feature.since() <= found));
    commands
        .map(|command| (command.name.join(" "), flags_of(command, found)))
        .collect()
}

fn is_listed(list: &[(&str, &str)], name: &str) -> bool {
    list.iter().any(|(listed, _)| *listed == name)
}

#[test]
fn commands_and_flags_are_those_of_the_binary() {
    let found = Install::discover().unwrap().version();
    let (shown, known) = (shown(), known(found));
    let mut differences = Vec::new();
    let names: BTreeSet<&String> = shown.keys().chain(known.keys()).collect();
    let (mut commands, mut flags) = (0, 0);
    for name in names {
        let (Some(shown), Some(known)) = (shown.get(name), known.get(name)) else {
            if shown.contains_key(name) {
                differences.push(format!("{name}: not in these bindings"));
            } else if is_listed(HIDDEN_COMMANDS, name) {
                commands += 1;
            } else {
                differences.push(format!("{name}: not in apptainer {found}"));
            }
            continue;
        };
        commands += 1;
        for (flag, takes_value) in shown {
            match known.iter().find(|known| known.name == flag) {
                None if is_listed(LEFT_OUT, flag) => {}
                None => differences.push(format!("{name} {flag}: not in these bindings")),
                Some(known) => {
                    flags += 1;
                    if *takes_value != (known.arity != Arity::Switch) {
                        differences.push(format!("{name} {flag}: a value is wanted by one only"));
                    }
                }
            }
        }
        for flag in known {
            if shown.contains_key(flag.name) {
                continue;
            }
            if is_listed(HIDDEN_FLAGS, flag.name) {
                flags += 1;
            } else {
                differences.push(format!("{name} {}: not in apptainer {found}", flag.name));
            }
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
    let all_flags: usize = known.values().map(Vec::len).sum();
    // Past the capture of the tests' output.
    let mut stdout = std::io::stdout();
    let (all, version) = (known.len(), found);
    writeln!(
        stdout,
        "apptainer {version}: commands {commands}/{all}, flags {flags}/{all_flags}"
    )
    .unwrap();
    assert_eq!((commands, flags), (all, all_flags));
}

/// Asked for its help, Apptainer reads the flags and does nothing.
#[test]
fn every_flag_is_accepted() {
    let found = Install::discover().unwrap().version();
    let mut refused = Vec::new();
    for (name, flags) in known(found) {
        let mut words: Vec<&str> = name.split_whitespace().collect();
        for flag in &flags {
            words.push(flag.name);
            if flag.arity != Arity::Switch {
                words.push("1");
            }
        }
        words.push("--help");
        let output = apptainer(&words);
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            refused.push(format!(
                "{name}: {}",
                stderr.lines().next().unwrap_or_default()
            ));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The check itself: it fails for a flag that is not there.
#[test]
fn a_flag_that_does_not_exist_is_refused() {
    let output = apptainer(&["exec", "--no-such-flag", "--help"]);
    assert!(!output.status.success());
}

//! Who kills parts of instances, and programs that watch them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use apptainer::sys::process::{Pid, PidFd, Process, Signal, State};
use fixtures::World;

use super::payload::{Named, Payload, Touched};
use super::workers::Workers;
use crate::dice::Dice;

/// What is killed, as often as it stands here.
const KINDS: [&str; 9] = [
    "program", "cli", "cli", "payload", "fuse", "agent", "first", "master", "master",
];

pub(super) struct Killer {
    folder: PathBuf,
    kills: BTreeMap<&'static str, usize>,
}

/// A process, and the instance that it is a part of.
struct Part {
    process: Process,
    instance: Named,
}

impl Killer {
    pub(super) fn new(world: &World) -> Self {
        Self {
            folder: world.folder().to_owned(),
            kills: BTreeMap::new(),
        }
    }

    pub(super) fn kills(&self) -> &BTreeMap<&'static str, usize> {
        &self.kills
    }

    /// Kills something, if there is anything of the kind that chance chooses; says whether that
    /// was a program.
    pub(super) fn kill_something(&mut self, dice: &mut Dice, workers: &mut Workers) -> bool {
        let kind = *dice.one_of(&KINDS);
        if kind == "program" {
            workers.kill_one(dice);
            *self.kills.entry(kind).or_default() += 1;
            return true;
        }
        let parts = parts(kind, &workers.pids());
        if parts.is_empty() {
            return false;
        }
        let Part { process, instance } = dice.one_of(&parts);
        let Ok(pidfd) = PidFd::open(process.pid) else {
            return false;
        };
        // It may have passed to another before it was held.
        let now = Process::read(process.pid).unwrap();
        if now.is_none_or(|now| now.started != process.started) {
            return false;
        }
        Touched::tell(&self.folder, &instance.name, kind);
        pidfd.signal(Signal::KILL).unwrap();
        *self.kills.entry(kind).or_default() += 1;
        false
    }
}

/// The processes of this kind of all instances of these programs.
fn parts(kind: &str, programs: &[Pid]) -> Vec<Part> {
    let mut all = Process::all().unwrap();
    all.retain(|process| process.state != State::Zombie);
    let below = |parent: Pid| all.iter().filter(move |process| process.parent == parent);
    if kind == "cli" {
        let starting = programs.iter().flat_map(|program| below(*program));
        let starting = starting.filter_map(|process| Some((process, named_in(process)?)));
        // Apptainer, and what that has started by then, but for the master.
        let all = starting.flat_map(|(process, instance)| {
            let more = below(process.pid).filter(|child| child.session != child.pid);
            let parts = [process].into_iter().chain(more);
            parts.map(move |process| Part {
                process: process.clone(),
                instance: instance.clone(),
            })
        });
        return all.collect();
    }
    let is_fuse = |process: &&Process| process.name.contains("fuse");
    let mut parts = Vec::new();
    for master in &all {
        // Its parent has the same title while that waits.
        if master.session != master.pid {
            continue;
        }
        let Some(instance) = master_of(master) else {
            continue;
        };
        let first = below(master.pid).find(|process| !is_fuse(process));
        let agent = first.and_then(|first| below(first.pid).next());
        let found: Vec<&Process> = match kind {
            "master" => vec![master],
            "first" => first.into_iter().collect(),
            "fuse" => below(master.pid).filter(is_fuse).collect(),
            "agent" => agent.into_iter().collect(),
            "payload" if instance.payload != Payload::Idle => {
                // It is the first that its agent starts.
                let payload = agent.and_then(|agent| {
                    let children = below(agent.pid);
                    children.min_by_key(|process| (process.started, process.pid))
                });
                payload.into_iter().collect()
            }
            _ => Vec::new(),
        };
        parts.extend(found.into_iter().map(|process| Part {
            process: process.clone(),
            instance: instance.clone(),
        }));
    }
    parts
}

/// What an `apptainer instance start` starts.
fn named_in(process: &Process) -> Option<Named> {
    let words = Process::command_line(process.pid).ok()??;
    let mut words = words
        .iter()
        .filter_map(|word| std::str::from_utf8(word).ok());
    words.find_map(ours)
}

/// What it is the master of: its title has the instance's name at the end, in brackets.
fn master_of(process: &Process) -> Option<Named> {
    let words = Process::command_line(process.pid).ok()??;
    let title = std::str::from_utf8(words.first()?).ok()?;
    let title = title.strip_prefix("Apptainer instance: ")?;
    let (_, name) = title.trim_end_matches('\0').rsplit_once('[')?;
    ours(name.trim_end().strip_suffix(']')?)
}

fn ours(name: &str) -> Option<Named> {
    Named::parse(name).filter(|_| name.starts_with(&super::workers::prefix()))
}

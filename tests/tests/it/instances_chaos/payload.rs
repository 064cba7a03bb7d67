//! What the instances run, and what may be said of them in the end.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use apptainer::instance::{Lost, Spec, State};
use apptainer::sys::process::{Exit, Signal};

use crate::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// Nothing runs in it.
    Idle,
    /// It ends when it is told to.
    Sleeps,
    /// It ends by itself, with a code of its own.
    Ends,
    /// It ends only when it is killed.
    Refuses,
}

const ALL: [Payload; 4] = [
    Payload::Idle,
    Payload::Sleeps,
    Payload::Ends,
    Payload::Refuses,
];

/// An instance, all of which is in its name.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) payload: Payload,
    code: i32,
}

impl Named {
    pub(super) fn by_chance(program: &str, dice: &mut Dice) -> Self {
        let payload = *dice.one_of(&ALL);
        let code = i32::try_from(1 + dice.below(100)).unwrap();
        let name = format!("{program}-{payload:?}-{code}-{:x}", dice.next());
        Self {
            name,
            payload,
            code,
        }
    }

    /// Whether this can be an instance's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-').skip(1);
        let payload = parts.next()?;
        let payload = ALL.into_iter().find(|one| format!("{one:?}") == payload)?;
        Some(Self {
            name: name.to_owned(),
            payload,
            code: parts.next()?.parse().ok()?,
        })
    }

    pub(super) fn run(&self, spec: Spec) -> Spec {
        match self.payload {
            Payload::Idle => spec,
            Payload::Sleeps => spec.command(["sleep", "10000"]),
            Payload::Ends => {
                let script = format!("sleep 0.{:02}; exit {}", self.code, self.code);
                spec.command(["sh", "-c", &script])
            }
            Payload::Refuses => {
                let script = "trap '' TERM; echo up; while :; do sleep 0.05; done";
                spec.command(["sh", "-c", script])
            }
        }
    }

    /// Whether it may end like this, when this was done to it.
    pub(super) fn may_end(&self, state: &State, touched: &Touched) -> bool {
        let was_told = touched.by("stop");
        let stopped = match state {
            State::Lost(Lost::Master) => return touched.by("master"),
            State::Lost(Lost::Container) => return touched.by("first"),
            State::Lost(Lost::Agent) => return touched.by("agent"),
            State::Lost(Lost::FileSystem) => return touched.by("fuse"),
            State::Stopped(stopped) if !stopped.is_out_of_memory => stopped,
            _ => return false,
        };
        // Whatever is killed while it is being stopped takes with it who knows of the exit.
        let is_unknown = was_told && touched.by_killer();
        let is_true = match stopped.exit {
            None => self.payload == Payload::Idle || is_unknown,
            Some(Exit::Code(code)) => self.payload == Payload::Ends && code == self.code,
            Some(Exit::Signal(Signal::TERM)) => {
                was_told && matches!(self.payload, Payload::Sleeps | Payload::Ends)
            }
            Some(Exit::Signal(Signal::KILL)) => {
                touched.by("payload") || is_unknown || was_told && self.payload == Payload::Refuses
            }
            Some(_) => false,
        };
        // One that was told to by a program that was killed then has not been asked by the next.
        let ended_by_itself = self.payload == Payload::Ends || touched.by("payload") || was_told;
        let who = if stopped.was_asked {
            was_told
        } else {
            stopped.exit.is_some() && ended_by_itself
        };
        is_true && who
    }
}

/// What was done to an instance: by its program, and by whoever kills its parts.
#[derive(Debug)]
pub(super) struct Touched(Vec<String>);

impl Touched {
    /// To be told before it is done.
    pub(super) fn tell(folder: &Path, name: &str, what: &str) {
        let path = folder.join("touched").join(name);
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    pub(super) fn of(folder: &Path, name: &str) -> Self {
        let text = fs::read_to_string(folder.join("touched").join(name));
        Self(
            text.unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn by(&self, what: &str) -> bool {
        self.0.iter().any(|one| one == what)
    }

    /// Whether a part of it was killed.
    pub(super) fn by_killer(&self) -> bool {
        self.0.iter().any(|one| one != "stop")
    }
}

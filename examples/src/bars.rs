//! How far an image has come, as bars.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use apptainer::image::{Layer, Phase, Progress};
use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

/// Shows on standard error how far an image has come: a line for the phase, and a bar for each
/// layer that is fetched. Where that is no terminal, it writes a line when a phase begins.
///
/// Dropped, it takes all of it away but for such lines.
#[derive(Debug)]
pub struct Bars {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    title: String,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
enum Shown {
    Bars(Terminal),
    /// Those that were written: two phases may take turns, while layers are both waited for and
    /// fetched.
    Lines(BTreeSet<String>),
}

#[derive(Debug)]
struct Terminal {
    all: MultiProgress,
    head: ProgressBar,
    /// Of layers that are not whole, by their place.
    layers: BTreeMap<usize, ProgressBar>,
}

impl Bars {
    /// Of an image that is called so.
    pub fn new(title: impl Into<String>) -> Self {
        let title = title.into();
        let shown = if stderr().is_terminal() {
            Shown::Bars(Terminal::new(&title))
        } else {
            Shown::Lines(BTreeSet::new())
        };
        let shown = Mutex::new(shown);
        Self {
            inner: Arc::new(Inner { title, shown }),
        }
    }

    /// What is to be called as the image comes on.
    pub fn listener(&self) -> impl Fn(Progress) + Send + Sync + use<> {
        let inner = Arc::clone(&self.inner);
        move |progress| inner.show(&progress)
    }

    /// Says what is done where nobody tells how far that has come.
    pub fn say(&self, what: &str) {
        self.inner.say(what, what);
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        if let Shown::Bars(terminal) = &mut *self.inner.shown() {
            terminal.layers.clear();
            terminal.head.finish_and_clear();
        }
    }
}

impl Inner {
    fn shown(&self) -> impl std::ops::DerefMut<Target = Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, progress: &Progress) {
        if progress.phase == Phase::Done {
            return;
        }
        self.say(&phase(progress), &headline(progress));
        if let Shown::Bars(terminal) = &mut *self.shown() {
            terminal.show_layers(progress);
        }
    }

    /// Shows `now` at a terminal, and writes `line` elsewhere.
    fn say(&self, line: &str, now: &str) {
        match &mut *self.shown() {
            Shown::Bars(terminal) => terminal.head.set_message(now.to_owned()),
            Shown::Lines(written) if written.contains(line) => {}
            Shown::Lines(written) => {
                eprintln!("{}: {line}", self.title);
                written.insert(line.to_owned());
            }
        }
    }
}

impl Terminal {
    fn new(title: &str) -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner());
        head.set_style(style("{spinner} {prefix}: {wide_msg}"));
        head.set_prefix(title.to_owned());
        head.enable_steady_tick(Duration::from_millis(100));
        let layers = BTreeMap::new();
        Self { all, head, layers }
    }

    fn show_layers(&mut self, progress: &Progress) {
        let is_fetched = matches!(
            progress.phase,
            Phase::Fetching | Phase::Waiting | Phase::Pausing
        );
        for (place, layer) in progress.layers.iter().enumerate() {
            if is_fetched && !is_whole(layer) {
                let all = &self.all;
                let bar = self.layers.entry(place).or_insert_with(|| bar(all, layer));
                bar.set_position(layer.fetched);
            } else if let Some(bar) = self.layers.remove(&place) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
    }
}

fn bar(all: &MultiProgress, layer: &Layer) -> ProgressBar {
    let template = if layer.size.is_some() {
        "  {prefix:12} [{bar:32}] {bytes:>10} of {total_bytes:<10} {bytes_per_sec}"
    } else {
        "  {prefix:12} {bytes:>10} {bytes_per_sec}"
    };
    let bar = ProgressBar::new(layer.size.unwrap_or_default());
    bar.set_style(style(template).progress_chars("=> "));
    bar.set_prefix(short(&layer.name).to_owned());
    all.add(bar)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is right")
}

/// Of a digest its first digits, of a URL the file.
fn short(name: &str) -> &str {
    match name.split_once(':') {
        Some((_, digits)) if !digits.contains('/') => digits.get(..12).unwrap_or(digits),
        _ => name.rsplit('/').next().unwrap_or(name),
    }
}

fn is_whole(layer: &Layer) -> bool {
    layer.size == Some(layer.fetched)
}

fn phase(progress: &Progress) -> String {
    match (progress.phase, &progress.holder) {
        (Phase::Waiting, Some(holder)) => format!("waiting for {holder}"),
        (Phase::Pausing, _) => "waiting before the registry is asked again".to_owned(),
        (phase, _) => phase.to_string(),
    }
}

/// The phase, and how far it has come.
fn headline(progress: &Progress) -> String {
    let phase = phase(progress);
    let bytes = HumanBytes(progress.bytes);
    match progress.phase {
        Phase::Fetching if !progress.layers.is_empty() => {
            let whole = progress.layers.iter().filter(|layer| is_whole(layer));
            format!(
                "{phase}, {} of {} layers, {bytes}",
                whole.count(),
                progress.layers.len()
            )
        }
        Phase::Unpacking | Phase::Building | Phase::Compressing | Phase::Extracting => {
            format!("{phase}, {bytes}")
        }
        _ => phase,
    }
}

//! How far a pull has come.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Holder;

/// What a pull is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for another pull of the same image.
    Waiting,
    /// Waiting before the registry is asked again, which was busy, or broke off.
    Pausing,
    /// Asking the registry what the name stands for.
    Resolving,
    /// Fetching its layers.
    Fetching,
    /// Unpacking its layers.
    Unpacking,
    /// Running the scripts that it is built by.
    Building,
    /// Compressing it into a SIF file.
    Compressing,
    /// Checking it, and who signed it.
    Verifying,
    /// Putting it into the store.
    Storing,
    /// Extracting it into a sandbox, where SIF files cannot be run.
    Extracting,
    /// It can be run.
    Done,
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How many bytes of disk what has been written takes, of the layers and all later phases
    /// together.
    pub bytes: u64,
    /// The layers, or the files, that are fetched, in their order, once they are known.
    pub layers: Vec<Layer>,
    /// The process that it waits for, if that is another one and is known.
    pub holder: Option<Holder>,
}

/// How far one layer of an image has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Layer {
    /// Its digest, or where it is from.
    pub name: String,
    /// How many bytes it has, where that is known.
    pub size: Option<u64>,
    /// How many of them are here.
    pub fetched: u64,
}

/// Whom to tell, and what was told last.
#[derive(Clone, Default)]
pub(super) struct Listener {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    call: Box<dyn Fn(Progress) + Send + Sync>,
    last: Mutex<Progress>,
    /// Whether more of a layer is here than was told.
    is_behind: AtomicBool,
}

/// How often it is told of bytes.
pub(super) const INTERVAL: Duration = Duration::from_millis(200);

impl Listener {
    pub(super) fn new(call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let inner = Inner {
            call: Box::new(call),
            last: Mutex::new(Progress {
                phase: Phase::Waiting,
                bytes: 0,
                layers: Vec::new(),
                holder: None,
            }),
            is_behind: AtomicBool::new(false),
        };
        Self {
            inner: Some(Arc::new(inner)),
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.inner.is_some()
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.tell(|last| Progress {
            phase,
            holder: None,
            ..last
        });
    }

    /// Tells that a pause is made for so long, and then what went on before.
    pub(super) async fn pause(&self, pause: Duration) {
        let before = self.inner.as_ref().map(|inner| {
            let last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.phase
        });
        self.enter(Phase::Pausing);
        tokio::time::sleep(pause).await;
        if let Some(phase) = before {
            self.enter(phase);
        }
    }

    pub(super) fn wait_for(&self, holder: Option<Holder>) {
        self.tell(|last| Progress {
            phase: Phase::Waiting,
            holder,
            ..last
        });
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.tell(|last| Progress { bytes, ..last });
    }

    /// These are fetched.
    pub(super) fn fetch(&self, layers: impl IntoIterator<Item = (String, Option<u64>)>) {
        let layers = layers.into_iter().map(|(name, size)| Layer {
            name,
            size,
            fetched: 0,
        });
        self.tell(|last| Progress {
            layers: layers.collect(),
            ..last
        });
    }

    /// Of one of them so much is here: told when it is whole, and [meanwhile](Self::follow).
    pub(super) fn fetched(&self, index: usize, bytes: u64) {
        let Some(inner) = &self.inner else {
            return;
        };
        let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(layer) = last.layers.get_mut(index) else {
            return;
        };
        layer.fetched = bytes;
        let is_whole = layer.size == Some(bytes);
        last.bytes = last.layers.iter().map(|layer| layer.fetched).sum();
        // For one layer somebody else may have been waited for.
        last.phase = Phase::Fetching;
        last.holder = None;
        drop(last);
        inner.is_behind.store(true, Ordering::Relaxed);
        if is_whole {
            self.catch_up();
        }
    }

    /// Fetches, and tells now and then how much of it is here.
    pub(super) async fn follow<T>(&self, fetching: impl Future<Output = T>) -> T {
        tokio::select! {
            never = self.keep_up() => match never {},
            // It would make large futures of all around it.
            fetched = Box::pin(fetching) => fetched,
        }
    }

    async fn keep_up(&self) -> Infallible {
        if !self.is_listening() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.catch_up();
        }
    }

    fn catch_up(&self) {
        let Some(inner) = &self.inner else {
            return;
        };
        if inner.is_behind.swap(false, Ordering::Relaxed) {
            let last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
            let next = last.clone();
            drop(last);
            (inner.call)(next);
        }
    }

    fn tell(&self, next: impl FnOnce(Progress) -> Progress) {
        let Some(inner) = &self.inner else {
            return;
        };
        let mut last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next(last.clone());
        if next != *last {
            last.clone_from(&next);
            drop(last);
            (inner.call)(next);
        }
    }
}

impl Phase {
    /// What a line of Apptainer's says of it.
    pub(super) fn from_message(text: &str) -> Option<Self> {
        // Source: what `apptainer pull` 1.4.5 prints.
        const SIGNS: [(&str, Phase); 4] = [
            ("Running post scriptlet", Phase::Building),
            ("Extracting OCI image", Phase::Unpacking),
            ("Inserting Apptainer configuration", Phase::Unpacking),
            ("Creating SIF file", Phase::Compressing),
        ];
        let sign = SIGNS.iter().find(|(sign, _)| text.starts_with(sign));
        sign.map(|(_, phase)| *phase)
    }
}

/// In words: `fetching`.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Pausing => "pausing",
            Self::Resolving => "resolving",
            Self::Fetching => "fetching",
            Self::Unpacking => "unpacking",
            Self::Building => "building",
            Self::Compressing => "compressing",
            Self::Verifying => "verifying",
            Self::Storing => "storing",
            Self::Extracting => "extracting",
            Self::Done => "done",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_waiting_for_a_layer_is_fetched() {
        let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let keep = Arc::clone(&told);
        let listener = Listener::new(move |progress| keep.lock().unwrap().push(progress));
        listener.enter(Phase::Fetching);
        listener.fetch([("sha256:1".to_owned(), Some(10))]);
        listener.wait_for(Some(Holder::me()));
        listener.fetched(0, 10);
        let told = told.lock().unwrap();
        let phases: Vec<Phase> = told.iter().map(|progress| progress.phase).collect();
        let expected = [
            Phase::Fetching,
            Phase::Fetching,
            Phase::Waiting,
            Phase::Fetching,
        ];
        assert_eq!(phases, expected);
        let last = told.last().unwrap();
        assert_eq!((last.holder.as_ref(), last.bytes), (None, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_is_told_though_no_more_comes() {
        let told: Arc<Mutex<Vec<u64>>> = Arc::default();
        let keep = Arc::clone(&told);
        let listener = Listener::new(move |progress| keep.lock().unwrap().push(progress.bytes));
        listener.fetch([("a".to_owned(), Some(1)), ("b".to_owned(), Some(10))]);
        let fetching = async {
            listener.fetched(0, 1);
            listener.fetched(1, 5);
            tokio::time::sleep(INTERVAL * 10).await;
        };
        listener.follow(fetching).await;
        assert_eq!(*told.lock().unwrap(), [0, 1, 6]);
    }
}

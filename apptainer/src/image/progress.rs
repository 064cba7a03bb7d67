//! How far a pull has come.

use std::sync::{Arc, Mutex, PoisonError};

use super::Holder;

/// What a pull is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for another pull of the same image.
    Waiting,
    /// Waiting before the registry is asked again, which was busy, or broke off.
    Pausing,
    /// Asking for the image, and fetching it.
    Fetching,
    /// Unpacking its layers.
    Unpacking,
    /// Compressing it into a SIF file.
    Compressing,
    /// Checking it and putting it into the store.
    Storing,
    /// Extracting it into a sandbox, where SIF files cannot be run.
    Extracting,
}

/// How far a pull has come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How many bytes it has written to disk, all phases together.
    pub bytes: u64,
    /// The process that it waits for, if that is another one and is known.
    pub holder: Option<Holder>,
}

/// Whom to tell, and what was told last.
#[derive(Clone, Default)]
pub(super) struct Listener {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    call: Box<dyn Fn(Progress) + Send + Sync>,
    last: Mutex<Progress>,
}

impl Listener {
    pub(super) fn new(call: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        let inner = Inner {
            call: Box::new(call),
            last: Mutex::new(Progress {
                phase: Phase::Waiting,
                bytes: 0,
                holder: None,
            }),
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
            ("Fetching OCI image", Phase::Fetching),
            ("Extracting OCI image", Phase::Unpacking),
            ("Inserting Apptainer configuration", Phase::Unpacking),
            ("Creating SIF file", Phase::Compressing),
        ];
        let sign = SIGNS.iter().find(|(sign, _)| text.starts_with(sign));
        sign.map(|(_, phase)| *phase)
    }
}

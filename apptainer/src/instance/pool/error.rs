//! What can go wrong with pools.

use std::sync::Arc;
use std::time::Duration;

use crate::instance::{InstanceError, SpecError};

/// A pool could not be opened, or has no instance to give.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// It cannot be of this size; nothing was started.
    #[error("open a pool: {reason}")]
    Size {
        /// Why, and what to do about it.
        reason: &'static str,
    },
    /// There cannot be a pool of instances that are described so; nothing was started.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// An instance could not be started, or was not ready in time. Nothing of it is left.
    #[error("start an instance of a pool: {0}")]
    Start(Arc<InstanceError>),
    /// An instance could not be stopped.
    #[error("stop an instance of a pool: {0}")]
    Stop(Arc<InstanceError>),
    /// None could be had in time.
    #[error(
        "check an instance out: none was free within {limit:?}{}", why_none(last_failure.as_deref())
    )]
    TimedOut {
        /// How long was waited.
        limit: Duration,
        /// Why the last one that was to be there is not, since one was given out.
        last_failure: Option<Arc<InstanceError>>,
    },
    /// The pool was shut down, or its runtime was.
    #[error("check an instance out: the pool is closed")]
    Closed,
}

fn why_none(failure: Option<&InstanceError>) -> String {
    match failure {
        Some(failure) => format!(", and the last that was to be: {failure}"),
        None => "; give some back sooner, raise `max`, or wait longer".to_owned(),
    }
}

impl PoolError {
    /// Whether the pool was shut down.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether none could be had in time.
    pub fn is_timed_out(&self) -> bool {
        matches!(self, Self::TimedOut { .. })
    }
}

impl From<InstanceError> for PoolError {
    fn from(error: InstanceError) -> Self {
        match error {
            InstanceError::Spec(error) => Self::Spec(error),
            error => Self::Start(Arc::new(error)),
        }
    }
}

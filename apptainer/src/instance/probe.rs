//! Asking an instance once whether it is well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Instance;
use super::health::{Probe, ProbeFailure, Target};

impl Instance {
    /// Asks once whether the instance is well; how long that took.
    ///
    /// For as long as it takes: give it a [timeout](tokio::time::timeout). Dropping the future
    /// leaves nothing of it. That the instance listens at a port, or has a file, may be true of
    /// the next moment: a [`Health`](super::Health) asks until it is.
    ///
    /// ```no_run
    /// # async fn example(instance: apptainer::Instance) -> Result<(), Box<dyn std::error::Error>> {
    /// use apptainer::instance::Probe;
    ///
    /// let took = instance.probe(&Probe::http(8080, "/health")).await?;
    /// println!("well, and answered within {took:?}");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn probe(&self, probe: &Probe) -> Result<Duration, ProbeFailure> {
        let began = Instant::now();
        let (processes, slot) = (Arc::clone(&self.processes), Arc::clone(&self.slot));
        Target::new(processes, slot, Vec::new()).ask(probe).await?;
        Ok(began.elapsed())
    }
}

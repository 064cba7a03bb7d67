//! What a spec says of an instance's life, with what counts where it says nothing.

use std::time::Duration;

use apptainer_sys::process::Signal;

use super::Spec;
use crate::instance::running::GRACE;

const START_DEADLINE: Duration = Duration::from_secs(120);

impl Spec {
    /// How long it may take until it is ready.
    pub(in crate::instance) fn time_to_start(&self) -> Duration {
        self.start_deadline.unwrap_or(START_DEADLINE)
    }

    /// The signal that it is stopped by.
    pub(in crate::instance) fn signal_to_stop(&self) -> Signal {
        self.stop_signal.unwrap_or(Signal::TERM)
    }

    /// How long it may take to obey that.
    pub(in crate::instance) fn time_to_stop(&self) -> Duration {
        self.stop_grace.unwrap_or(GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_of_its_life_is_as_usual() {
        let usual = Spec::new("docker://alpine:3");
        assert_eq!(usual.time_to_start(), Duration::from_secs(120));
        assert_eq!(usual.time_to_stop(), Duration::from_secs(10));
        assert_eq!(usual.signal_to_stop(), Signal::TERM);
    }

    #[test]
    fn what_is_said_of_its_life_counts() {
        let said = Spec::new("docker://alpine:3")
            .start_deadline(Duration::from_secs(1))
            .stop_grace(Duration::ZERO)
            .stop_signal(Signal::INT);
        assert_eq!(said.time_to_start(), Duration::from_secs(1));
        assert_eq!(said.time_to_stop(), Duration::ZERO);
        assert_eq!(said.signal_to_stop(), Signal::INT);
    }
}

//! What is asked, and when.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::probe::{CustomProbe, PortRef, Probe, Probed};
use crate::instance::seconds;

/// How to tell whether an instance is well: a [`Probe`], and when it is asked.
///
/// An instance is ready when a probe has passed for the first time. Until then it is asked every
/// [`start_interval`](Self::start_interval), and more often at first, so that this is seen soon;
/// after that every [`interval`](Self::interval). It is unhealthy after
/// [`retries`](Self::retries) failures on end. Before it was ready those in the
/// [`start_period`](Self::start_period) do not count, and after that at most one in every
/// `interval`, however often it is asked: as with Docker, it has `start_period + retries *
/// interval` to become ready. One that is unhealthy is asked on, and healthy once a probe passes.
///
/// ```
/// use std::time::Duration;
/// use apptainer::instance::Health;
///
/// let health = Health::http("http", "/health")
///     .interval(Duration::from_secs(10))
///     .start_period(Duration::from_secs(60));
/// assert_eq!(health.retries, 3);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Health {
    /// What is asked.
    pub probe: Probe,
    /// How long it is from one probe to the next, once the instance is ready: 30 seconds unless
    /// said otherwise. In JSON, this and all other times are seconds, with a fraction.
    #[serde(with = "seconds", default = "half_a_minute")]
    pub interval: Duration,
    /// How long a probe may take, which is given up then and counts as failed: 30 seconds unless
    /// said otherwise.
    #[serde(with = "seconds", default = "half_a_minute")]
    pub timeout: Duration,
    /// How long the instance may take to become ready before failures count: no time unless
    /// said otherwise.
    #[serde(with = "seconds", default)]
    pub start_period: Duration,
    /// The longest that it is from one probe to the next until the instance is ready: 100
    /// milliseconds unless said otherwise.
    #[serde(with = "seconds", default = "start_interval")]
    pub start_interval: Duration,
    /// How many failures on end make it unhealthy: 3 unless said otherwise.
    #[serde(default = "retries")]
    pub retries: u32,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

fn start_interval() -> Duration {
    Duration::from_millis(100)
}

fn retries() -> u32 {
    3
}

impl Health {
    /// Asks this, at the usual times.
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: half_a_minute(),
            timeout: half_a_minute(),
            start_period: Duration::ZERO,
            start_interval: start_interval(),
            retries: retries(),
        }
    }

    /// Well is where this command exits with 0 in the instance: [`Probe::Command`].
    pub fn command<W: Into<String>>(argv: impl IntoIterator<Item = W>) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Self::new(Probe::Command { argv })
    }

    /// Well is where the instance listens at this port: [`Probe::Tcp`].
    pub fn tcp(port: impl Into<PortRef>) -> Self {
        Self::new(Probe::Tcp { port: port.into() })
    }

    /// Well is where the instance answers at this path, with 200 to 399: [`Probe::Http`].
    pub fn http(port: impl Into<PortRef>, path: impl Into<String>) -> Self {
        Self::new(Probe::http(port, path))
    }

    /// Well is where there is a file at this path in the container: [`Probe::File`].
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Probe::File {
            path: path.into(),
            newer_than: None,
        })
    }

    /// Well is what this says: [`Probe::Custom`].
    pub fn custom<F, R>(ask: F) -> Self
    where
        F: Fn(Probed) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        Self::new(Probe::Custom(CustomProbe::new(ask)))
    }

    /// Sets [`interval`](Self::interval).
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets [`timeout`](Self::timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets [`start_period`](Self::start_period).
    pub fn start_period(mut self, period: Duration) -> Self {
        self.start_period = period;
        self
    }

    /// Sets [`start_interval`](Self::start_interval).
    pub fn start_interval(mut self, interval: Duration) -> Self {
        self.start_interval = interval;
        self
    }

    /// Sets [`retries`](Self::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Whether it is code, which cannot be written down.
    pub(crate) fn is_custom(&self) -> bool {
        matches!(self.probe, Probe::Custom(_))
    }

    /// The port that is asked, if one is.
    pub(crate) fn port(&self) -> Option<&PortRef> {
        match &self.probe {
            Probe::Tcp { port } | Probe::Http { port, .. } => Some(port),
            _ => None,
        }
    }

    /// What is wrong with it: fields and problems.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let probe = self.probe.findings().into_iter();
        let probe = probe.map(|(field, problem)| (format!("probe.{field}"), problem));
        let times = [
            ("interval", self.interval.is_zero()),
            ("timeout", self.timeout.is_zero()),
            ("start_interval", self.start_interval.is_zero()),
            ("retries", self.retries == 0),
        ];
        let zeros = times.into_iter().filter(|(_, is_zero)| *is_zero);
        let zeros = zeros.map(|(field, _)| (field.to_owned(), "must not be 0".to_owned()));
        probe.chain(zeros).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Health {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_probe_is_enough_and_times_are_seconds() {
        let health = read(r#"{"probe": {"kind": "tcp", "port": "http"}}"#);
        assert_eq!(health, Health::tcp("http"));
        let health = read(
            r#"{"probe": {"kind": "http", "port": 8080, "path": "/up"}, "interval": 5, "timeout": 0.25}"#,
        );
        let expected = Health::http(8080, "/up")
            .interval(Duration::from_secs(5))
            .timeout(Duration::from_millis(250));
        assert_eq!(health, expected);
        let health = read(r#"{"probe": {"kind": "file", "path": "/ready", "newer_than": 90}}"#);
        let newer_than = Some(Duration::from_secs(90));
        let path = "/ready".into();
        assert_eq!(health.probe, Probe::File { path, newer_than });
    }

    #[test]
    fn all_of_it_survives_but_what_is_code() {
        for health in [
            Health::tcp(80),
            Health::http("http", "/").start_period(Duration::from_micros(1_234_567)),
            Health::command(["pg_isready", "-q"]).retries(7),
            Health::file("/run/ready").start_interval(Duration::from_millis(30)),
            Health::new(Probe::Http {
                port: 1.into(),
                path: "/a".to_owned(),
                status: 204..=204,
            }),
            Health::new(Probe::File {
                path: "/run/beat".into(),
                newer_than: Some(Duration::from_millis(1500)),
            }),
        ] {
            let json = serde_json::to_string(&health).unwrap();
            assert_eq!(read(&json), health, "{json}");
            assert_eq!(health.findings(), []);
        }
        let custom = Health::custom(|_| async { Ok(()) });
        assert!(serde_json::to_string(&custom).is_err());
        assert_eq!(custom, custom.clone());
        assert_ne!(custom, Health::custom(|_| async { Ok(()) }));
    }

    #[test]
    fn what_is_misspelt_or_no_time_is_told() {
        for (json, told) in [
            (
                r#"{"probe": {"kind": "tcp", "port": 1}, "intervall": 1}"#,
                "intervall",
            ),
            (r#"{"probe": {"kind": "tcp", "prot": 1}}"#, "prot"),
            (r#"{"probe": {"kind": "udp", "port": 1}}"#, "udp"),
            (r#"{"probe": {"kind": "custom"}}"#, "custom"),
            (
                r#"{"probe": {"kind": "tcp", "port": 1}, "timeout": -1}"#,
                "negative",
            ),
        ] {
            let error = serde_json::from_str::<Health>(json).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_found() {
        let well = Health::tcp(1);
        let empty: [&str; 0] = [];
        let with_status = |status| {
            Health::new(Probe::Http {
                port: 1.into(),
                path: "/".to_owned(),
                status,
            })
        };
        for (health, field) in [
            (well.clone().interval(Duration::ZERO), "interval"),
            (well.clone().timeout(Duration::ZERO), "timeout"),
            (
                well.clone().start_interval(Duration::ZERO),
                "start_interval",
            ),
            (well.clone().retries(0), "retries"),
            (Health::tcp(0), "probe.port"),
            (Health::tcp(""), "probe.port"),
            (Health::command(empty), "probe.argv"),
            (Health::command([""]), "probe.argv"),
            (Health::command(["a", "b\0"]), "probe.argv"),
            (Health::file("ready"), "probe.path"),
            (Health::file("/a\0"), "probe.path"),
            (Health::http(1, "health"), "probe.path"),
            (Health::http(1, ""), "probe.path"),
            (Health::http(1, "/a\r\nX: y"), "probe.path"),
            (Health::http(1, "/a b"), "probe.path"),
            (Health::http(1, "/ä"), "probe.path"),
            (with_status(99..=200), "probe.status"),
            #[expect(clippy::reversed_empty_ranges, reason = "that is what is wrong")]
            (with_status(300..=200), "probe.status"),
        ] {
            let findings = health.findings();
            assert_eq!(findings.len(), 1, "{health:?}: {findings:?}");
            assert_eq!(findings[0].0, field);
        }
    }
}

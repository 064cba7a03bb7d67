//! Durations as data: a number of seconds, with a fraction where there is one.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::Instant;

pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    Seconds(*time).serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(Seconds::deserialize(from)?.0)
}

/// The same where there may be none.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Duration, Seconds, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(Seconds).serialize(to)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let time = Option::<Seconds>::deserialize(from)?;
        Ok(time.map(|seconds| seconds.0))
    }
}

struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.subsec_nanos() == 0 {
            to.serialize_u64(self.0.as_secs())
        } else {
            to.serialize_f64(self.0.as_secs_f64())
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(from)?;
        match Duration::try_from_secs_f64(seconds) {
            Ok(time) => Ok(Self(time)),
            // As the longest one is written, it is rounded up.
            Err(_) if seconds > 0.0 => Ok(Self(Duration::MAX)),
            Err(error) => Err(de::Error::custom(format!("a number of seconds: {error}"))),
        }
    }
}

/// So much later; where that is beyond what there is, in a hundred years.
pub(super) fn later(time: Instant, after: Duration) -> Instant {
    const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    time.checked_add(after).unwrap_or(time + FOREVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Times {
        #[serde(with = "super")]
        one: Duration,
        #[serde(with = "super::option")]
        other: Option<Duration>,
    }

    #[test]
    fn every_time_is_read_as_it_was_written() {
        let (second, most) = (Duration::from_secs(1), Duration::MAX);
        for (one, other, json) in [
            (second, None, r#"{"one":1,"other":null}"#),
            (second / 4, Some(second), r#"{"one":0.25,"other":1}"#),
            (
                most,
                Some(most),
                r#"{"one":1.8446744073709552e+19,"other":1.8446744073709552e+19}"#,
            ),
        ] {
            let times = Times { one, other };
            assert_eq!(serde_json::to_string(&times).unwrap(), json);
            assert_eq!(serde_json::from_str::<Times>(json).unwrap(), times);
        }
        let negative = r#"{"one":-1,"other":null}"#;
        let error = serde_json::from_str::<Times>(negative).unwrap_err();
        assert!(error.to_string().contains("negative"), "{error}");
    }

    #[test]
    fn forever_is_later() {
        let now = Instant::now();
        assert_eq!(
            later(now, Duration::from_secs(1)),
            now + Duration::from_secs(1)
        );
        let forever = later(now, Duration::MAX);
        assert!(later(forever, Duration::MAX) > forever && forever > now);
    }
}

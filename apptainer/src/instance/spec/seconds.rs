//! Durations as JSON has them: a number of seconds, with a fraction where there is one.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de};

#[expect(
    clippy::ref_option,
    reason = "serde calls it with a reference to the field"
)]
pub(super) fn serialize<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        None => serializer.serialize_none(),
        Some(whole) if whole.subsec_nanos() == 0 => serializer.serialize_u64(whole.as_secs()),
        Some(duration) => serializer.serialize_f64(duration.as_secs_f64()),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let seconds = Option::<f64>::deserialize(deserializer)?;
    let duration = seconds.map(Duration::try_from_secs_f64).transpose();
    duration.map_err(|error| de::Error::custom(format!("a number of seconds: {error}")))
}

//! Devices by the names of the Container Device Interface.

use std::ffi::OsString;

use super::word::is_name;
use super::{Reason, Value};

/// A CDI device: `nvidia.com/gpu=0`, `nvidia.com/gpu=all`.
///
/// Source: the CDI specification, "Kind" and "Device name".
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Device {
    name: String,
}

impl Device {
    /// The device with this fully qualified name: `VENDOR/CLASS=NAME`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }
}

impl Value for Device {
    fn to_word(&self) -> OsString {
        self.name.as_str().into()
    }

    fn check(&self) -> Result<(), Reason> {
        let parts = self
            .name
            .split_once('=')
            .and_then(|(kind, name)| Some((kind.split_once('/')?, name)));
        match parts {
            Some(((vendor, class), name))
                if is_name(vendor, b"_-.") && is_name(class, b"_-") && is_name(name, b"_-.:") =>
            {
                Ok(())
            }
            _ => Err("a CDI device is named VENDOR/CLASS=NAME, as in nvidia.com/gpu=0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_three_parts() {
        for name in ["nvidia.com/gpu=0", "nvidia.com/gpu=all", "a/b=c:d.e_f-g"] {
            assert_eq!(Device::named(name).check(), Ok(()), "{name}");
        }
        for name in [
            "",
            "gpu",
            "nvidia.com/gpu",
            "/gpu=0",
            "a/=0",
            "a/b=",
            "a/b=c,d",
            "a b/c=d",
        ] {
            assert!(Device::named(name).check().is_err(), "{name}");
        }
    }
}

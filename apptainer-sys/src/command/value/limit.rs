//! Limits on resources, in Apptainer's units.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{Reason, Value};
use crate::cgroup::{CpuList, Cpus, Limit};

macro_rules! numbers {
    ($($(#[$meta:meta])* $name:ident($ty:ty) $range:expr, $reason:literal;)*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $ty);

        impl From<$ty> for $name {
            fn from(number: $ty) -> Self {
                Self(number)
            }
        }

        impl Value for $name {
            fn to_word(&self) -> OsString {
                self.0.to_string().into()
            }

            fn check(&self) -> Result<(), Reason> {
                if ($range).contains(&self.0) { Ok(()) } else { Err($reason) }
            }
        }
    )* };
}

numbers! {
    /// A share of block input and output relative to others', 10 to 1000.
    BlkioWeight(u16) 10..=1000, "a weight is between 10 and 1000";
    /// A share of CPU time relative to others', 2 to 262144; 1024 is usual.
    CpuShares(u32) 2..=262_144, "CPU shares are between 2 and 262144";
    /// An amount of memory, in bytes.
    Bytes(u64) 1..=i64::MAX.cast_unsigned(), "the limit must be between one byte and 2^63 - 1";
}

/// A [weight](BlkioWeight) for one block device.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceWeight {
    /// The device file: `/dev/sda`.
    pub device: PathBuf,
    /// Its weight.
    pub weight: BlkioWeight,
}

impl DeviceWeight {
    /// `weight` for `device`.
    pub fn new(device: impl Into<PathBuf>, weight: impl Into<BlkioWeight>) -> Self {
        Self {
            device: device.into(),
            weight: weight.into(),
        }
    }
}

impl Value for DeviceWeight {
    fn to_word(&self) -> OsString {
        let mut word = self.device.clone().into_os_string();
        word.push(":");
        word.push(self.weight.to_word());
        word
    }

    fn check(&self) -> Result<(), Reason> {
        let device = self.device.as_os_str().as_bytes();
        if device.is_empty() || device.contains(&b':') {
            return Err("the device must be a path without a colon");
        }
        self.weight.check()
    }
}

/// Apptainer takes 0 for "not set".
impl Value for Limit {
    fn to_word(&self) -> OsString {
        match self {
            Self::Unlimited => "-1".into(),
            Self::Max(most) => most.to_string().into(),
        }
    }

    fn check(&self) -> Result<(), Reason> {
        match self {
            Self::Max(0) => Err("a limit of 0 is none at all to Apptainer"),
            Self::Max(most) if i64::try_from(*most).is_err() => Err("the limit must be below 2^63"),
            _ => Ok(()),
        }
    }
}

/// Apptainer also refuses more than the machine has.
impl Value for Cpus {
    fn to_word(&self) -> OsString {
        self.to_string().into()
    }

    fn check(&self) -> Result<(), Reason> {
        if *self < Cpus::from_millis(10) {
            return Err("it must be at least a hundredth of a CPU");
        }
        Ok(())
    }
}

impl Value for CpuList {
    fn to_word(&self) -> OsString {
        self.to_string().into()
    }

    fn check(&self) -> Result<(), Reason> {
        if self.is_empty() {
            return Err("there must be at least one");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_apptainer_would_take_for_none_are_refused() {
        assert_eq!(Limit::Unlimited.to_word(), "-1");
        assert_eq!(Limit::Max(5).to_word(), "5");
        assert_eq!(Limit::Max(5).check(), Ok(()));
        assert!(Limit::Max(0).check().is_err());
        assert!(Limit::Max(u64::MAX).check().is_err());
        assert!(Bytes(0).check().is_err());
    }

    #[test]
    fn weights_have_a_range() {
        assert_eq!(BlkioWeight(10).check(), Ok(()));
        assert!(BlkioWeight(9).check().is_err());
        assert!(BlkioWeight(1001).check().is_err());
        assert_eq!(DeviceWeight::new("/dev/sda", 500).to_word(), "/dev/sda:500");
        assert!(DeviceWeight::new("/dev/a:b", 500).check().is_err());
        assert!(DeviceWeight::new("/dev/sda", 1).check().is_err());
        assert!(CpuShares(1).check().is_err());
    }

    #[test]
    fn parts_of_a_cpu() {
        assert_eq!(Cpus::from(1.5).to_word(), "1.5");
        assert_eq!(Cpus::from(0.01).check(), Ok(()));
        for none in [0.0, -1.0, 0.001, f64::NAN] {
            assert!(Cpus::from(none).check().is_err(), "{none}");
        }
    }
}

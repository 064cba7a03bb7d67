//! JSON that Apptainer prints or keeps: none makes a reader panic, and what is read
//! is written and read again unchanged.
#![no_main]

use apptainer_sys::output::{InstanceList, InstanceStats, Metadata, OciState, Verification};
use apptainer_sys::state::instance::{Config, Record};
use libfuzzer_sys::fuzz_target;
use serde_json::{from_slice, from_str, to_string};

macro_rules! round_trip {
    ($bytes:expr, $($model:ty),*) => { $(
        if let Ok(read) = from_slice::<$model>($bytes) {
            let written = to_string(&read).expect("it was JSON before");
            assert_eq!(from_str::<$model>(&written).expect("it is ours"), read);
        }
    )* };
}

fuzz_target!(|bytes: &[u8]| {
    round_trip!(
        bytes,
        Metadata,
        InstanceList,
        InstanceStats,
        Verification,
        OciState
    );
    if let Ok(record) = from_slice::<Record>(bytes) {
        let _ = record.config();
    }
    // Of itself, without the base64 that it stands in.
    let _ = Config::parse(bytes);
});

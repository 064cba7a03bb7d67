//! How a process ended, as the kernel tells it and as it is passed on.

use crate::protocol::{End, Usage};
use crate::sys::Rusage;

/// Of what wait4(2) gives.
pub(crate) fn decode(status: i32, usage: &Rusage) -> (End, Usage) {
    let signal = (status & 0x7f) as u8;
    let end = if signal == 0 {
        End::Code((status >> 8) as u8)
    } else {
        End::Signal(signal)
    };
    // The kernel's counters are never below zero.
    let micros = |[seconds, micros]: [i64; 2]| seconds as u64 * 1_000_000 + micros as u64;
    let usage = Usage {
        user: micros(usage.user),
        system: micros(usage.system),
        max_resident: usage.max_resident as u64,
        minor_faults: usage.minor_faults as u64,
        major_faults: usage.major_faults as u64,
        blocks_read: usage.blocks_read as u64,
        blocks_written: usage.blocks_written as u64,
        voluntary_switches: usage.voluntary_switches as u64,
        involuntary_switches: usage.involuntary_switches as u64,
    };
    (end, usage)
}

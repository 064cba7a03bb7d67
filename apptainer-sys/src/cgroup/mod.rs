//! Control groups: all processes of a group limited, frozen, counted and ended
//! as one, in both versions of the kernel's interface.

mod limit;

pub use limit::{CpuList, Cpus, Limit, ParseCpuListError};

//! What stands behind a flag, where that is more than a word: each knows how it
//! is written and what it may not be.

mod bind;
mod capability;
mod device;
mod fuse_mount;
mod home;
mod limit;
mod network;
mod no_mount;
mod overlay;
mod scratch;
mod security;
mod word;

pub use bind::{Access, Bind, Mount};
pub use capability::{Capability, ParseCapabilityError};
pub use device::Device;
pub use fuse_mount::FuseMount;
pub use home::Home;
pub use limit::{BlkioWeight, Bytes, CpuShares, DeviceWeight};
pub use network::{Network, NetworkArgs, PortMap, Protocol};
pub use no_mount::NoMount;
pub use overlay::Overlay;
pub use scratch::Scratch;
pub use security::Security;
pub(crate) use word::{Reason, Value, csv_field};

//! GPUs: which there are, and which an instance is to have.

mod amd;
mod nvidia;
mod probe;
mod request;
#[cfg(test)]
mod tests;

pub use probe::{AmdGpus, GpuDevice, Gpus, MissingGpu, NvidiaGpus};
pub use request::GpuRequest;

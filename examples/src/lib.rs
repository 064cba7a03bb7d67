//! What the programs in `examples/` have in common.

mod bars;
mod signals;

pub use bars::Bars;
pub use signals::Signals;

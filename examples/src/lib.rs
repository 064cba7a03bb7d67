//! What the programs in `examples/` have in common.

mod bars;
mod place;
mod signals;

pub use bars::Bars;
pub use place::Place;
pub use signals::Signals;

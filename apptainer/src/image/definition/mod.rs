//! Images that are built: what Apptainer calls a definition.

mod builder;
mod error;
mod expand;
mod files;
mod header;
mod inputs;
mod lines;
mod recipe;
mod section;
mod shell;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod written;

pub use builder::Definition;
pub use error::DefinitionError;
pub(super) use inputs::Inputs;
pub(super) use recipe::Recipe;

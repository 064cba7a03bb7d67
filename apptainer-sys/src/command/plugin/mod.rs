//! `apptainer plugin`.

mod compile;
mod create;
mod disable;
mod enable;
mod inspect;
mod install;
mod list;
mod uninstall;

pub use compile::Compile;
pub use create::Create;
pub use disable::Disable;
pub use enable::Enable;
pub use inspect::Inspect;
pub use install::Install;
pub use list::List;
pub use uninstall::Uninstall;

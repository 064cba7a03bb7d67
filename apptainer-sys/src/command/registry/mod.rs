//! `apptainer registry`: logins to OCI registries.

mod list;
mod login;
mod logout;
mod parent;

pub use list::List;
pub use login::Login;
pub use logout::Logout;
pub use parent::RegistryOptions;

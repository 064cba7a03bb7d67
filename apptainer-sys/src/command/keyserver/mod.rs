//! `apptainer keyserver`: where public keys come from.

mod add;
mod list;
mod login;
mod logout;
mod parent;
mod remove;

pub use add::Add;
pub use list::List;
pub use login::Login;
pub use logout::Logout;
pub use parent::KeyserverOptions;
pub use remove::Remove;

//! `apptainer remote`: libraries and key servers as one address.

mod add;
mod get_login_password;
mod list;
mod login;
mod logout;
mod parent;
mod remove;
mod status;
mod use_remote;

pub use add::Add;
pub use get_login_password::GetLoginPassword;
pub use list::List;
pub use login::Login;
pub use logout::Logout;
pub use parent::RemoteOptions;
pub use remove::Remove;
pub use status::Status;
pub use use_remote::Use;

//! Asking registries.
//!
//! A client of the OCI distribution specification 1.1 for pulling. Whatever a server sends is
//! bounded: how much of an answer is read, how often it redirects, how often it is given a
//! login, and for how long it may be silent.

mod authorization;
mod certificates;
mod credentials;
mod download;
mod environment;
mod error;
mod http;
mod login;
mod manifest;
mod session;
mod sessions;
mod settings;

pub use certificates::CertificateError;
pub use credentials::{CredentialError, HelperProblem};
pub use error::RegistryError;

pub(super) use download::{Download, DownloadError, Held, UrlFile};
pub(super) use login::Login;
pub(super) use manifest::Descriptor;
pub(super) use session::Found;
pub(super) use sessions::Sessions;
pub(crate) use settings::Settings;

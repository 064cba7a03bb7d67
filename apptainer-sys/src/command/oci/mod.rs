//! `apptainer oci`: containers from OCI bundles, for root.

mod attach;
mod create;
mod delete;
mod exec;
mod kill;
mod log_format;
mod mount;
mod pause;
mod resume;
mod run;
mod start;
mod state;
mod umount;
mod update;

pub use attach::Attach;
pub use create::Create;
pub use delete::Delete;
pub use exec::Exec;
pub use kill::Kill;
pub use log_format::LogFormat;
pub use mount::Mount;
pub use pause::Pause;
pub use resume::Resume;
pub use run::Run;
pub use start::Start;
pub use state::State;
pub use umount::Umount;
pub use update::Update;

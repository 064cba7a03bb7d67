//! Options that stand before the command.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{Arity, Flag};

/// How much Apptainer says on its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// `--debug`: everything.
    Debug,
    /// `--verbose`.
    Verbose,
    /// What it says by itself: information, warnings and errors.
    #[default]
    Normal,
    /// `--quiet`: warnings and errors.
    Quiet,
    /// `--silent`: errors only.
    Silent,
}

/// What every command takes: `apptainer [these] COMMAND ..`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GlobalOptions {
    /// How much it says.
    pub verbosity: Verbosity,
    /// `--nocolor`.
    pub no_color: bool,
    /// `--config`: another `apptainer.conf` (root, or an unprivileged install).
    pub config: Option<PathBuf>,
    /// `--build-config`: the configuration that building containers needs.
    pub build_config: bool,
}

impl GlobalOptions {
    /// The flags that this type knows, each once.
    pub const FLAGS: &'static [Flag] = &[
        Flag::new("--debug", Arity::Switch, None),
        Flag::new("--verbose", Arity::Switch, None),
        Flag::new("--quiet", Arity::Switch, None),
        Flag::new("--silent", Arity::Switch, None),
        Flag::new("--nocolor", Arity::Switch, None),
        Flag::new("--config", Arity::Value, None),
        Flag::new("--build-config", Arity::Switch, None),
    ];

    /// What the `apptainer` crate uses: errors only, without colours, so that
    /// a command's standard error is the command's own.
    pub fn silent() -> Self {
        Self {
            verbosity: Verbosity::Silent,
            no_color: true,
            ..Self::default()
        }
    }

    /// The words for it.
    pub fn argv(&self) -> Vec<OsString> {
        let verbosity = match self.verbosity {
            Verbosity::Debug => Some("--debug"),
            Verbosity::Verbose => Some("--verbose"),
            Verbosity::Normal => None,
            Verbosity::Quiet => Some("--quiet"),
            Verbosity::Silent => Some("--silent"),
        };
        let mut argv: Vec<OsString> = verbosity.map(OsString::from).into_iter().collect();
        if self.no_color {
            argv.push("--nocolor".into());
        }
        if let Some(config) = &self.config {
            argv.extend(["--config".into(), config.into()]);
        }
        if self.build_config {
            argv.push("--build-config".into());
        }
        argv
    }
}

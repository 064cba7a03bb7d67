//! Where commands run, and by which way they get there.

use std::ffi::OsString;
use std::sync::Arc;

use apptainer_sys::Feature;
use apptainer_sys::command::{Exec, GlobalOptions};
use apptainer_sys::process::Spawn;

use super::ExecError;
use super::link::{Slot, Transport};
use crate::container::{Container, Settings};
use crate::{Apptainer, Image};

/// Where a command runs: an image or an instance, in Apptainer's words, and what
/// is settled for all commands there.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) client: Apptainer,
    pub(crate) image: OsString,
    pub(crate) settings: Settings,
    /// What the store is not to take away meanwhile.
    pub(crate) uses: Option<Image>,
}

/// By which way a command gets to where it runs.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// An `apptainer exec`.
    Cli(Arc<Place>),
    /// A link that is made when it is needed, and made again when it is lost.
    Slot(Arc<Slot>),
    /// This link and no other.
    Link(Transport),
}

impl Container {
    pub(super) fn place(&self) -> Place {
        Place {
            client: self.client().clone(),
            image: self.image().path().as_os_str().to_owned(),
            settings: self.settings.clone(),
            uses: Some(self.image().clone()),
        }
    }
}

impl Place {
    /// An `apptainer exec` of a program there, in this directory, or that of the place.
    pub(super) fn invocation(
        &self,
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = OsString>,
    ) -> Result<Spawn, ExecError> {
        let exec = Exec::new(&self.image, program, args);
        self.invoke(exec, None, &[])
    }

    /// The same with a directory and variables of its own.
    pub(super) fn invoke(
        &self,
        mut exec: Exec,
        directory: Option<&std::path::Path>,
        env: &[(OsString, Option<OsString>)],
    ) -> Result<Spawn, ExecError> {
        exec.action = self.settings.checked()?;
        for (name, value) in &self.settings.env {
            exec.action.env(name, value);
        }
        for (name, value) in env {
            if let Some(value) = value {
                exec.action.env(name, value);
            }
        }
        if let Some(path) = directory.or(self.settings.current_dir.as_deref()) {
            if self.client.install().has(Feature::Cwd) {
                exec.foreground.cwd(path);
            } else {
                exec.foreground.pwd(path);
            }
        }
        let mut spawn = self.client.invocation(&GlobalOptions::silent(), &exec)?;
        for (name, value) in &self.settings.host_env {
            spawn.set_env(name, value);
        }
        Ok(spawn)
    }
}

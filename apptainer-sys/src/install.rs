//! The Apptainer that is installed here.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use crate::command::{BuildCfg, CommandError, GlobalOptions, Subcommand};
use crate::environment;
use crate::feature::OLDEST;
use crate::output::BuildConfig;
use crate::process::{Captured, Spawn, SpawnError, Stdio};
use crate::{Feature, ParseVersionError, Version};

/// The variable that names the `apptainer` program to use.
pub const PROGRAM_VARIABLE: &str = "APPTAINER_BIN";

/// An Apptainer program that was found and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Install {
    program: PathBuf,
    version: Version,
}

/// No usable Apptainer was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is none.
    #[error(
        "find Apptainer: {PROGRAM_VARIABLE} is not set and neither apptainer nor singularity is on PATH; \
         install it from https://apptainer.org, load its module, or set {PROGRAM_VARIABLE}"
    )]
    NotFound,
    /// The program that was named cannot be run.
    #[error("run {}: {source}", .program.display())]
    Unusable {
        /// The program.
        program: PathBuf,
        /// Why.
        source: SpawnError,
    },
    /// The program did not answer as Apptainer does.
    #[error("use {}: it is not Apptainer, it calls itself {answer:?}", .program.display())]
    NotApptainer {
        /// The program.
        program: PathBuf,
        /// What it printed.
        answer: String,
    },
    /// The program is an Apptainer from before what these bindings know.
    #[error(
        "use {}: it is Apptainer {found}, and at least {OLDEST} is needed; install a newer one", .program.display()
    )]
    TooOld {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: Version,
    },
    /// The program ran and failed.
    #[error("ask {} {question}: {stderr}", .program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// The words it was given.
        question: String,
        /// What it said.
        stderr: String,
    },
    /// Its output could not be read.
    #[error("read the output of {}: {source}", .program.display())]
    Output {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Install {
    /// Finds Apptainer: the program that `APPTAINER_BIN` names, else `apptainer`
    /// on `PATH`, else `singularity` on `PATH` if that is Apptainer underneath.
    ///
    /// Runs the program once to ask for its version.
    pub fn discover() -> Result<Self, InstallError> {
        if let Some(program) = std::env::var_os(PROGRAM_VARIABLE).filter(|path| !path.is_empty()) {
            return Self::at(&PathBuf::from(program));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = ["apptainer", "singularity"]
            .into_iter()
            .find_map(|name| on_path(name, &path));
        found.map_or(Err(InstallError::NotFound), |program| Self::at(&program))
    }

    /// The program at `program`.
    ///
    /// Runs it once to ask for its version.
    pub fn at(program: &Path) -> Result<Self, InstallError> {
        let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
        let answer = ask(&program, ["--version"])?;
        let Some(text) = answer.trim().strip_prefix("apptainer version ") else {
            return Err(InstallError::NotApptainer {
                program,
                answer: answer.trim().to_owned(),
            });
        };
        let version: Version =
            text.parse()
                .map_err(|_: ParseVersionError| InstallError::NotApptainer {
                    program: program.clone(),
                    answer: answer.trim().to_owned(),
                })?;
        if version < OLDEST {
            return Err(InstallError::TooOld {
                program,
                found: version,
            });
        }
        Ok(Self { program, version })
    }

    /// The program, as an absolute path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether it has `feature`.
    pub fn has(&self, feature: Feature) -> bool {
        self.version >= feature.since()
    }

    /// Asks how it was built. Runs the program.
    pub fn build_config(&self) -> Result<BuildConfig, InstallError> {
        let text = ask(&self.program, BuildCfg::all().argv())?;
        Ok(BuildConfig::parse(&text))
    }

    /// `command` for this Apptainer, checked against its version, with the
    /// caller's environment [scrubbed](environment::scrubbed).
    pub fn invocation(
        &self,
        global: &GlobalOptions,
        command: &(impl Subcommand + ?Sized),
    ) -> Result<Spawn, CommandError> {
        command.check(self.version)?;
        let mut spawn = Spawn::new(&self.program);
        spawn
            .args(global.argv())
            .args(command.argv())
            .env(environment::scrubbed(std::env::vars_os()));
        for (name, value) in command.environment()? {
            spawn.set_env(name, value);
        }
        Ok(spawn)
    }
}

fn on_path(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|candidate| {
            nix::unistd::access(candidate, nix::unistd::AccessFlags::X_OK).is_ok()
                && candidate.is_file()
        })
}

fn ask<W: Into<OsString>>(
    program: &Path,
    words: impl IntoIterator<Item = W>,
) -> Result<String, InstallError> {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    let mut spawn = Spawn::new(program);
    spawn
        .args(words.iter().cloned())
        .env(environment::scrubbed(std::env::vars_os()))
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe())
        .stderr(Stdio::pipe());
    let child = spawn.spawn().map_err(|source| InstallError::Unusable {
        program: program.to_owned(),
        source,
    })?;
    let Captured {
        exit,
        stdout,
        stderr,
    } = child.output().map_err(|source| InstallError::Output {
        program: program.to_owned(),
        source,
    })?;
    if !exit.success() {
        return Err(InstallError::Failed {
            program: program.to_owned(),
            question: words.join(OsStr::new(" ")).to_string_lossy().into_owned(),
            stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

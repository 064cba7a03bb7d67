//! Which release of Apptainer brought what.

use crate::Version;

/// Something that not every supported release of Apptainer can do.
///
/// Flags refer to these, so that using one with an older Apptainer is an error
/// before anything is started. What [`OLDEST`] already had is not listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feature {
    /// `--cwd` on the actions, the name that replaced `--pwd`.
    Cwd,
    /// `--no-pid` on the actions.
    NoPid,
    /// `--sharens` on the actions.
    SharedNamespaces,
    /// `--all` on `instance list`.
    InstanceListAll,
    /// The commands `keyserver ..`, and the flag `--order` with them.
    Keyservers,
    /// The commands `registry ..`.
    Registries,
    /// `--no-default` on `remote add`.
    RemoteNoDefault,
    /// `--authfile` on what talks to registries.
    Authfile,
    /// `--arch` and `--arch-variant` on `build`.
    BuildArch,
    /// `--mksquashfs-args` on `build`.
    MksquashfsArgs,
    /// `--netns-path` on the actions and instances.
    NetnsPath,
    /// `--runscript-timeout` on `run` and `instance run`.
    RunscriptTimeout,
    /// `--sandbox` on `pull`.
    PullSandbox,
    /// `--buildkit-host` on `build`.
    Buildkit,
    /// `--device` and `--cdi-dirs` on the actions.
    Devices,
    /// `--data` on `build`.
    DataContainers,
    /// `--intel-hpu` on the actions and instances.
    IntelHpu,
    /// `--no-env` on the actions and instances.
    NoEnv,
    /// `--ignore-proot` on `build`.
    IgnoreProot,
    /// `--reproducible` on `build` and `pull`.
    Reproducible,
    /// `--tmpdir` on `overlay create` and `plugin compile`.
    Tmpdir,
}

/// The oldest Apptainer that these bindings speak to.
pub const OLDEST: Version = Version::new(1, 2, 0);

impl Feature {
    /// The first release that has it.
    ///
    /// Source: the flags registered at each of Apptainer's release tags.
    pub const fn since(self) -> Version {
        match self {
            Self::Cwd
            | Self::NoPid
            | Self::SharedNamespaces
            | Self::InstanceListAll
            | Self::Keyservers
            | Self::Registries
            | Self::RemoteNoDefault => Version::new(1, 3, 0),
            Self::Authfile
            | Self::BuildArch
            | Self::MksquashfsArgs
            | Self::NetnsPath
            | Self::RunscriptTimeout
            | Self::PullSandbox => Version::new(1, 4, 0),
            Self::Buildkit
            | Self::Devices
            | Self::DataContainers
            | Self::IntelHpu
            | Self::NoEnv
            | Self::IgnoreProot
            | Self::Reproducible
            | Self::Tmpdir => Version::new(1, 5, 0),
        }
    }
}

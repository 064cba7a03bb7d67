//! `apptainer build`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::options::{options, positional};
use super::value::{Bind, Mount, Value};

options! {
    /// Builds an image: `apptainer build IMAGE SPEC`.
    ///
    /// The spec is a definition file, a URI, a SIF file or a sandbox.
    pub command Build = ["build"] {
        groups {}
        positional {
            image: OsString,
            spec: OsString,
        }
        flags {
            /// The architecture, in Go's words: `amd64`, `arm64`.
            arch: value(String) = "--arch" since BuildArch;
            /// The variant of the architecture: `v8`.
            arch_variant: value(String) = "--arch-variant" since BuildArch;
            /// A file with registry credentials, in Docker's format.
            authfile: value(PathBuf) = "--authfile" since Authfile;
            /// Files of the host for the `%post` and `%test` sections.
            bind: each(Bind) = "--bind";
            /// A `NAME=VALUE` for the definition file's templates.
            build_arg: list(OsString) = "--build-arg";
            /// A file of `NAME=VALUE` lines for the definition file's templates.
            build_arg_file: value(PathBuf) = "--build-arg-file";
            /// The BuildKit daemon for Dockerfile builds.
            buildkit_host: value(String) = "--buildkit-host" since Buildkit;
            /// Makes a container of data alone.
            data: switch = "--data" since DataContainers;
            /// Neither reads nor writes Apptainer's cache.
            disable_cache: switch = "--disable-cache";
            /// The Docker daemon to ask for `docker-daemon:` images.
            docker_host: value(String) = "--docker-host";
            /// Asks for a user name and password on the terminal.
            docker_login: switch = "--docker-login";
            /// Encrypts the file system.
            encrypt: switch = "--encrypt";
            /// Builds as root in a user namespace.
            fakeroot: switch = "--fakeroot";
            /// Makes every file of the sandbox readable and removable by its owner.
            fix_perms: switch = "--fix-perms";
            /// Overwrites the image.
            force: switch = "--force";
            /// Takes the fakeroot command to be missing.
            ignore_fakeroot_command: switch = "--ignore-fakeroot-command";
            /// Takes proot to be missing.
            ignore_proot: switch = "--ignore-proot" since IgnoreProot;
            /// Takes the user's subuid range to be missing.
            ignore_subuid: switch = "--ignore-subuid";
            /// Takes user namespaces to be missing.
            ignore_userns: switch = "--ignore-userns";
            /// Reads the definition as JSON.
            json: switch = "--json";
            /// The library to ask for `library://` images.
            library: value(String) = "--library";
            /// Words for `mksquashfs`.
            mksquashfs_args: value(OsString) = "--mksquashfs-args" since MksquashfsArgs;
            /// Files of the host, in the form that carries every path.
            mount: each(Mount) = "--mount";
            /// Keeps the bundle after a failure.
            no_cleanup: switch = "--no-cleanup";
            /// Speaks HTTP to the registry.
            no_https: switch = "--no-https";
            /// Leaves out the `%test` section.
            notest: switch = "--notest";
            /// Finds and binds Nvidia libraries.
            nv: switch = "--nv";
            /// Sets GPUs up with `nvidia-container-cli`.
            nvccli: switch = "--nvccli";
            /// Asks for an encryption passphrase on the terminal.
            passphrase: switch = "--passphrase";
            /// An RSA public key to encrypt with.
            pem_path: value(PathBuf) = "--pem-path";
            /// The same bytes from the same source.
            reproducible: switch = "--reproducible" since Reproducible;
            /// Finds and binds ROCm libraries.
            rocm: switch = "--rocm";
            /// Makes a directory in place of a SIF file.
            sandbox: switch = "--sandbox";
            /// Sections of the definition to run; all of them otherwise.
            section: list(Section) = "--section";
            /// Where to unpack.
            tmpdir: value(PathBuf) = "--tmpdir";
            /// Builds over an existing sandbox.
            update: switch = "--update";
            /// Builds in a user namespace.
            userns: switch = "--userns";
            /// Warns of build arguments that no template uses, in place of failing.
            warn_unused_build_args: switch = "--warn-unused-build-args";
            /// Gives `%post` and `%test` a writable layer in memory.
            writable_tmpfs: switch = "--writable-tmpfs";
        }
    }
}

impl Build {
    /// Builds `image` from `spec`.
    pub fn new(image: impl AsRef<Path>, spec: impl AsRef<OsStr>) -> Self {
        Self {
            image: positional(image.as_ref().as_os_str()),
            spec: positional(spec.as_ref()),
            ..Self::unset()
        }
    }
}

/// A part of a definition that can be run alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// `%environment`.
    Environment,
    /// `%files`.
    Files,
    /// `%labels`.
    Labels,
    /// No section at all: only the base.
    None,
    /// `%post`.
    Post,
    /// `%setup`.
    Setup,
    /// `%test`.
    Test,
}

impl Value for Section {
    fn to_word(&self) -> OsString {
        match self {
            Self::Environment => "environment",
            Self::Files => "files",
            Self::Labels => "labels",
            Self::None => "none",
            Self::Post => "post",
            Self::Setup => "setup",
            Self::Test => "test",
        }
        .into()
    }
}

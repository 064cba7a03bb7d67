//! From a spec to what Apptainer is told.

use std::path::{Path, PathBuf};

use apptainer_sys::command::{ActionOptions, Scratch, Security};

use super::{Namespace, Privileges, Spec, placeholder};
use crate::container::Settings;
use crate::{Container, Image};

impl Spec {
    /// A container of this image as the spec describes it, for commands without an instance.
    ///
    /// What only supervision can give is left out: the payload, the temporary overlay, ports,
    /// limits, the umask.
    pub fn container(&self, image: &Image) -> Container {
        Container {
            image: image.clone(),
            settings: self.settings(),
        }
    }

    /// What shapes the container.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings {
            contain: self.contain,
            current_dir: self.current_dir.clone(),
            binds: self.binds.clone(),
            overlays: self.overlays.clone(),
            is_writable: self.writable,
            ..Settings::default()
        };
        self.add_files(&mut settings.action);
        self.add_circumstances(&mut settings.action);
        self.add_network(&mut settings.action);
        self.add_privileges(&mut settings.action);
        // The last one set for a name counts.
        for request in &self.gpus {
            request.add_to(&mut settings);
        }
        for name in &self.forward_env {
            if let Some(value) = std::env::var_os(name) {
                settings.env.push((name.into(), value));
            }
        }
        let variables = self.env.0.iter();
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        settings.env.extend(variables);
        settings
    }

    fn add_files(&self, action: &mut ActionOptions) {
        action
            .writable(self.writable)
            .writable_tmpfs(self.writable_tmpfs);
        for path in &self.scratch {
            action.scratch(Scratch::at(path));
        }
        if let Some(path) = &self.workdir {
            action.workdir(absolute(path));
        }
        if let Some(home) = &self.home {
            action.home(home.home_of(&absolute(home.source())));
        }
        if let Some(path) = &self.private_key {
            action.pem_path(absolute(path));
        }
        for mount in &self.no_mount {
            action.no_mount(mount.clone());
        }
    }

    fn add_circumstances(&self, action: &mut ActionOptions) {
        for path in &self.env_files {
            action.env_file(absolute(path));
        }
        for name in &self.no_env {
            action.no_env(name);
        }
        action
            .cleanenv(self.clean_env)
            .no_eval(self.no_eval)
            .no_umask(self.no_umask)
            .no_init(self.no_init);
    }

    fn add_network(&self, action: &mut ActionOptions) {
        let has = |namespace| self.namespaces.contains(&namespace);
        action
            .userns(has(Namespace::User))
            .ipc(has(Namespace::Ipc))
            .uts(has(Namespace::Uts))
            .net(!self.networks.is_empty());
        if let Some(name) = &self.hostname {
            action.hostname(name);
        }
        for joined in &self.networks {
            action.network(joined.network());
            if let Some(args) = joined.args() {
                action.network_args(args);
            }
        }
        if let Some(path) = &self.network_namespace {
            action.netns_path(absolute(path));
        }
        for server in &self.dns {
            action.dns(*server);
        }
    }

    fn add_privileges(&self, action: &mut ActionOptions) {
        action
            .fakeroot(self.fakeroot)
            .keep_privs(self.privileges == Privileges::Keep)
            .no_privs(self.privileges == Privileges::Drop)
            .allow_setuid(self.allow_setuid);
        for capability in &self.add_capabilities {
            action.add_caps(*capability);
        }
        for capability in &self.drop_capabilities {
            action.drop_caps(*capability);
        }
        let gids = (!self.gids.is_empty()).then(|| Security::Gids(self.gids.clone()));
        let security = [
            self.seccomp.as_deref().map(absolute).map(Security::Seccomp),
            self.apparmor.clone().map(Security::AppArmor),
            self.selinux.clone().map(Security::Selinux),
            self.uid.map(Security::Uid),
            gids,
        ];
        for feature in security.into_iter().flatten() {
            action.security(feature);
        }
    }

    /// The same with the numbers of ports for `{port:NAME}`, in arguments and in the values of
    /// variables.
    pub(crate) fn substituted(&self, ports: &[(String, u16)]) -> Self {
        let mut spec = self.clone();
        let words = spec.payload.words_mut().iter_mut();
        for text in words.chain(spec.env.0.values_mut()) {
            *text = placeholder::filled(text, ports);
        }
        spec
    }
}

/// A path that does not depend on where `apptainer` runs. What cannot be made one is left.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

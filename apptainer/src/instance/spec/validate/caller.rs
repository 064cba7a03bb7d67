//! What depends on who starts the instance, and with which Apptainer.

use std::fmt;
use std::fs;

use apptainer_sys::Version;

use super::{Host, refusal};
use crate::Gpu;
use crate::instance::spec::error::Findings;
use crate::instance::spec::{Namespace, Privileges, Spec};

/// Who starts the instance, and with which Apptainer.
pub(in super::super) struct Caller<'a> {
    pub(in super::super) is_root: bool,
    pub(in super::super) version: Version,
    /// Whether Apptainer has a setuid program. It takes running it to know.
    pub(in super::super) has_setuid: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Caller");
        shown.field("is_root", &self.is_root);
        shown
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

pub(super) fn check(spec: &Spec, host: &Host, caller: &Caller<'_>, findings: &mut Findings) {
    let too_old = refusal(caller.version, |action| {
        for name in &spec.no_env {
            action.no_env(name);
        }
    });
    findings.maybe("no_env", too_old);
    let too_old = spec.network_namespace.as_ref().and_then(|path| {
        refusal(caller.version, |action| {
            action.netns_path(path);
        })
    });
    findings.maybe("network_namespace", too_old);
    if caller.is_root {
        check_root(spec, host, findings);
    } else {
        check_user(spec, caller, findings);
    }
}

fn check_root(spec: &Spec, host: &Host, findings: &mut Findings) {
    let ranges = fs::read_to_string(host.file("etc/subuid")).unwrap_or_default();
    let is_root = |line: &str| line.starts_with("root:") || line.starts_with("0:");
    if spec.fakeroot && !ranges.lines().any(is_root) {
        let problem =
            "root has no range in /etc/subuid, which it takes; leave it out, root is root";
        findings.add("fakeroot", problem);
    }
}

fn check_user(spec: &Spec, caller: &Caller<'_>, findings: &mut Findings) {
    let only_root = [
        ("privileges", spec.privileges == Privileges::Keep),
        ("allow_setuid", spec.allow_setuid),
    ];
    for (field, _) in only_root.into_iter().filter(|(_, is_set)| *is_set) {
        findings.add(field, "only root can ask for it; leave it out");
    }
    let network = spec.networks.iter().position(|joined| !joined.is_none());
    if let Some(index) = network {
        check_network(spec, caller, &format!("networks[{index}].name"), findings);
    }
    // In a user namespace everybody can be anybody, and is still nobody else outside.
    let is_rootless = spec.namespaces.contains(&Namespace::User);
    for (field, is_set) in [("uid", spec.uid.is_some()), ("gids", !spec.gids.is_empty())] {
        if is_set && !spec.fakeroot && !is_rootless && (caller.has_setuid)() {
            let problem = "only root can ask for it here; leave it out, or add the user namespace";
            findings.add(field, problem);
        }
    }
    let cli = spec.gpus.iter().position(|gpu| gpu.kind == Gpu::NvidiaCli);
    if let Some(index) = cli.filter(|_| spec.fakeroot && (caller.has_setuid)()) {
        let problem = "this Apptainer has a setuid program, and takes no `fakeroot` with it";
        findings.add(format!("gpus[{index}].kind"), problem);
    }
}

/// With a setuid program `apptainer.conf` may let users join networks, and has one for
/// `fakeroot`.
fn check_network(spec: &Spec, caller: &Caller<'_>, field: &str, findings: &mut Findings) {
    let is_rootless = spec.namespaces.contains(&Namespace::User);
    if !is_rootless && (caller.has_setuid)() {
        return;
    }
    let problem = if spec.fakeroot {
        "without a setuid program Apptainer gives `none` in its place; ask for that"
    } else {
        "without a setuid program only root can join it; ask for `none`"
    };
    findings.add(field, problem);
}

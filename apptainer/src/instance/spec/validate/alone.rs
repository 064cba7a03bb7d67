//! What counts only together with something else, and what Apptainer ignores.

use apptainer_sys::command::NoMount;

use crate::Contain;
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    if spec.workdir.is_some() && spec.scratch.is_empty() && spec.contain == Contain::Nothing {
        let problem = "it counts only with `scratch` or `contain`; add one, or leave it out";
        findings.add("workdir", problem);
    }
    if spec.home.is_some() && spec.no_mount.contains(&NoMount::Home) {
        let problem = "Apptainer does not show it, for `no_mount` has `home`; leave one out";
        findings.add("home", problem);
    }
    if spec.fakeroot {
        let ignored = [
            ("uid", spec.uid.is_some()),
            ("gids", !spec.gids.is_empty()),
            ("drop_capabilities", !spec.drop_capabilities.is_empty()),
        ];
        for (field, _) in ignored.into_iter().filter(|(_, is_set)| *is_set) {
            let problem = "Apptainer ignores it with `fakeroot`; leave one of them out";
            findings.add(field, problem);
        }
    }
    if spec.network_namespace.is_some() && !spec.networks.is_empty() {
        let problem = "Apptainer ignores it with `network_namespace`; leave one of them out";
        findings.add("networks", problem);
    }
    for (index, capability) in spec.add_capabilities.iter().enumerate() {
        if spec.drop_capabilities.contains(capability) {
            let name = capability.name();
            let problem = format!("{name} is in `drop_capabilities` too, which counts");
            findings.add(format!("add_capabilities[{index}]"), problem);
        }
    }
}

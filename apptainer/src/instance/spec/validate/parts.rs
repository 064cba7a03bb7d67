//! What its parts find wrong with themselves, and with each other.

use super::values::check_placeholders;
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;
use crate::instance::{PortRef, Probe};

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    add(findings, "limits", spec.limits.findings());
    add(findings, "logs", spec.logs.findings());
    for (index, port) in spec.ports.iter().enumerate() {
        add(findings, &format!("ports[{index}]"), port.findings());
    }
    let Some(health) = &spec.health else {
        return;
    };
    add(findings, "health", health.findings());
    if let Probe::Command { argv } = &health.probe {
        for (index, word) in argv.iter().enumerate() {
            check_placeholders(spec, &format!("health.probe.argv[{index}]"), word, findings);
        }
    }
    if let Some(PortRef::Name(name)) = health.port()
        && !spec.ports.iter().any(|port| port.name == *name)
    {
        let problem = format!("no port is called {name}; declare it in `ports`");
        findings.add("health.probe.port", problem);
    }
}

fn add(findings: &mut Findings, part: &str, found: Vec<(String, String)>) {
    for (field, problem) in found {
        findings.add(format!("{part}.{field}"), problem);
    }
}

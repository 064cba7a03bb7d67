//! Values that can be judged by themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use apptainer_sys::command::Subcommand;
use apptainer_sys::command::instance::Start;
use apptainer_sys::environment::VariableError;
use apptainer_sys::state::instance::is_valid_name;

use super::{invalid, relative};
use crate::image::Reference;
use crate::instance::spec::error::Findings;
use crate::instance::spec::{Payload, Spec, placeholder};

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    let image = Reference::parse(&spec.image.0).err();
    findings.maybe("image", image.map(|error| error.to_string()));
    let name = spec.name.as_ref().filter(|name| !is_valid_name(name));
    findings.maybe(
        "name",
        name.map(|_| "a name is letters, digits, dots, underscores and dashes, and at most 250"),
    );
    check_payload(spec, findings);
    check_variables(spec, findings);
    check_ports(spec, findings);
    check_network(spec, findings);
    let directory = spec.current_dir.as_deref();
    findings.maybe("current_dir", directory.and_then(relative));
    let mask = spec.umask.filter(|mask| mask.0 > 0o777);
    findings.maybe(
        "umask",
        mask.map(|mask| format!("{mask} is more than 777, all permissions that there are")),
    );
    for (index, mount) in spec.no_mount.iter().enumerate() {
        let problem = invalid(|action| {
            action.no_mount(mount.clone());
        });
        findings.maybe(format!("no_mount[{index}]"), problem);
    }
    for (field, text) in [("apparmor", &spec.apparmor), ("selinux", &spec.selinux)] {
        let empty = text.as_ref().filter(|text| text.is_empty());
        findings.maybe(
            field,
            empty.map(|_| "it is empty; name one, or leave it out"),
        );
    }
    if spec.start_deadline == Some(Duration::ZERO) {
        findings.add(
            "start_deadline",
            "nothing is ready at once; give it some time",
        );
    }
}

fn check_payload(spec: &Spec, findings: &mut Findings) {
    if let Payload::Command(argv) = &spec.payload {
        let program = argv.first().map(String::as_str).unwrap_or_default();
        let is_missing = program.is_empty();
        let problem = "there is no program to run; name one, or have nothing run";
        findings.maybe("payload.command", is_missing.then_some(problem));
    }
    let name = spec.payload.name();
    for (index, word) in spec.payload.words().iter().enumerate() {
        let field = format!("payload.{name}[{index}]");
        check_placeholders(spec, &field, word, findings);
    }
}

pub(super) fn check_placeholders(spec: &Spec, field: &str, text: &str, findings: &mut Findings) {
    for name in placeholder::names(text) {
        if !spec.ports.iter().any(|port| port.name == name) {
            let problem = format!("{{port:{name}}}: no port has that name; declare it in `ports`");
            findings.add(field, problem);
        }
    }
}

fn check_variables(spec: &Spec, findings: &mut Findings) {
    for (name, value) in &spec.env.0 {
        let field = format!("env.{name}");
        findings.maybe(&field, wrong_name(name));
        check_placeholders(spec, &field, value, findings);
    }
    for name in &spec.forward_env {
        findings.maybe(format!("forward_env.{name}"), wrong_name(name));
    }
    for name in &spec.no_env {
        let is_wrong = name.is_empty() || name.contains('=');
        let problem = is_wrong.then_some("no variable has this name");
        findings.maybe(format!("no_env.{name}"), problem);
    }
}

fn wrong_name(name: &str) -> Option<&'static str> {
    let mut start = Start::new("image", "name", [] as [&str; 0]);
    start.action.env(name, "");
    match start.environment().err()? {
        VariableError::Home => {
            Some("Apptainer keeps this one to itself; set the home directory with `home`")
        }
        _ => Some("a name is letters, digits and underscores, and does not start with a digit"),
    }
}

fn check_ports(spec: &Spec, findings: &mut Findings) {
    let (mut names, mut numbers, mut variables) =
        (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (index, port) in spec.ports.iter().enumerate() {
        if !names.insert(&port.name) {
            let problem = format!("two ports are called {}; rename one", port.name);
            findings.add(format!("ports[{index}].name"), problem);
        }
        if let Some(number) = port.number
            && !numbers.insert(number)
        {
            let problem = format!("two ports have the number {number}; change one");
            findings.add(format!("ports[{index}].number"), problem);
        }
        let Some(variable) = &port.env else {
            continue;
        };
        let field = format!("ports[{index}].env");
        if let Some(problem) = wrong_name(variable) {
            findings.add(field, problem);
        } else if !variables.insert(variable) || spec.env.0.contains_key(variable) {
            let problem = format!("{variable} is set by something else too; rename one");
            findings.add(field, problem);
        }
    }
}

fn check_network(spec: &Spec, findings: &mut Findings) {
    let hostname = spec.hostname.as_ref().filter(|name| !is_hostname(name));
    findings.maybe(
        "hostname",
        hostname.map(|_| {
            "a host's name is letters, digits, and dashes and dots between them, and at most 64"
        }),
    );
    for (index, joined) in spec.networks.iter().enumerate() {
        let field = format!("networks[{index}]");
        let name = invalid(|action| {
            action.network(joined.network());
        });
        if name.is_some() {
            findings.maybe(format!("{field}.name"), name);
        } else if let Some(args) = joined.args() {
            let problem = invalid(|action| {
                action.network_args(args);
            });
            findings.maybe(field, problem);
        }
    }
}

/// As Apptainer has it, and the kernel as to its length.
fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 64 && name.split('.').all(is_label)
}

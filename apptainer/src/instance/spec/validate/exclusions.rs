//! What excludes something else.

use crate::image::Reference;
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    check_writable_layers(spec, findings);
    check_writable_image(spec, findings);
    if spec.umask.is_some() && spec.no_umask {
        findings.add(
            "no_umask",
            "it is 022, and `umask` is set too; leave one of them out",
        );
    }
    let mut seen: Vec<_> = Vec::new();
    for (index, joined) in spec.networks.iter().enumerate() {
        let network = joined.network();
        if seen.contains(&network) {
            let problem = "it is joined already; leave one of both out";
            findings.add(format!("networks[{index}].name"), problem);
        } else if joined.is_none() && spec.networks.len() > 1 {
            let problem = "`none` is for no other network; leave it or the others out";
            findings.add(format!("networks[{index}].name"), problem);
        }
        seen.push(network);
    }
}

/// The writable layers, by field: Apptainer takes one.
fn check_writable_layers(spec: &Spec, findings: &mut Findings) {
    let overlays = spec.overlays.iter().enumerate();
    let overlays = overlays.filter(|(_, layer)| !layer.is_read_only());
    let mut layers: Vec<_> = overlays
        .map(|(index, _)| format!("overlays[{index}]"))
        .collect();
    let others = [
        ("temporary_overlay", spec.temporary_overlay),
        ("writable_tmpfs", spec.writable_tmpfs),
    ];
    let others = others.into_iter().filter(|(_, is_set)| *is_set);
    layers.extend(others.map(|(field, _)| field.to_owned()));
    let Some((first, others)) = layers.split_first() else {
        return;
    };
    for field in others {
        let problem = format!(
            "{first} is a writable layer already, and there can be one; leave one out, or make an overlay read-only"
        );
        findings.add(field, problem);
    }
}

fn check_writable_image(spec: &Spec, findings: &mut Findings) {
    if !spec.writable {
        return;
    }
    let image = Reference::parse(&spec.image.0).ok();
    if image.is_some_and(|image| image.as_path().is_none()) {
        let problem =
            "an image of the store is not one's own to write to; name a sandbox, or use an overlay";
        findings.add("writable", problem);
    }
    let has_layers = !spec.overlays.is_empty() || spec.temporary_overlay || spec.writable_tmpfs;
    if has_layers {
        let problem = "there can be no layer over an image that is written to; leave one out";
        findings.add("writable", problem);
    }
}

//! Files of the host.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access, geteuid};

use super::{Host, invalid};
use crate::Contain;
use crate::container::OverlayLayer;
use crate::image::Reference;
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

pub(super) fn check(spec: &Spec, host: &Host, findings: &mut Findings) {
    let reference = Reference::parse(&spec.image.0).ok();
    let image = reference.as_ref().and_then(Reference::as_path);
    findings.maybe("image", image.and_then(absent));
    if let Some(path) = &spec.private_key {
        findings.maybe("private_key", unreadable(path));
    }
    for (index, bind) in spec.binds.iter().enumerate() {
        let field = format!("binds[{index}]");
        findings.maybe(format!("{field}.source"), absent(bind.source()));
        if bind.destination().is_absolute() {
            // The same bind but for its source, which has been looked at.
            let problem = invalid(|action| {
                action.mount(bind.mount_of(Path::new("/")));
            });
            findings.maybe(field, problem);
        }
    }
    for (index, layer) in spec.overlays.iter().enumerate() {
        check_layer(layer, &format!("overlays[{index}].path"), findings);
    }
    if let Some(home) = &spec.home {
        findings.maybe("home.source", not_a_directory(home.source()));
    }
    if let Some(path) = &spec.workdir {
        // Apptainer makes it for scratch directories alone.
        let is_made = spec.contain == Contain::Nothing && fs::symlink_metadata(path).is_err();
        let problem = (!is_made).then(|| not_a_directory(path));
        findings.maybe("workdir", problem.flatten());
    }
    for (index, path) in spec.env_files.iter().enumerate() {
        findings.maybe(format!("env_files[{index}]"), unreadable(path));
    }
    if let Some(path) = &spec.network_namespace {
        findings.maybe("network_namespace", absent(path));
    }
    if let Some(path) = &spec.seccomp {
        findings.maybe("seccomp", unreadable(path).or_else(|| not_json(path)));
    }
    check_modules(spec, host, findings);
}

fn check_layer(layer: &OverlayLayer, field: &str, findings: &mut Findings) {
    let path = layer.path();
    let missing = absent(path).map(|problem| {
        format!("{problem}: a directory, or an image by `apptainer overlay create`")
    });
    if missing.is_some() {
        return findings.maybe(field, missing);
    }
    if !layer.is_read_only() && !is_writable(path) {
        let problem = format!(
            "{} cannot be written to; choose another, or make it read-only",
            path.display()
        );
        return findings.add(field, problem);
    }
    let problem = invalid(|action| {
        action.overlay(layer.layer_of(path));
    });
    findings.maybe(field, problem);
}

/// Apptainer gets past the permissions of what is one's own.
fn is_writable(path: &Path) -> bool {
    let is_own = fs::metadata(path).is_ok_and(|file| file.uid() == geteuid().as_raw());
    is_own || access(path, AccessFlags::W_OK).is_ok()
}

/// A NUL byte is found elsewhere.
fn has_nul(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&0)
}

fn unusable<T>(path: &Path, result: io::Result<T>) -> Option<String> {
    let error = result.err().filter(|_| !has_nul(path))?;
    let advice = "name another, make it, or leave it out";
    Some(format!("{}: {error}; {advice}", path.display()))
}

fn absent(path: &Path) -> Option<String> {
    unusable(path, fs::metadata(path))
}

fn unreadable(path: &Path) -> Option<String> {
    // Opening what is not a file may wait for whoever is at its other end.
    let is_file = || fs::metadata(path).is_ok_and(|file| file.is_file());
    let problem = || {
        let problem = format!("{} is not a file; name one", path.display());
        (!is_file() && !has_nul(path)).then_some(problem)
    };
    let open = || unusable(path, File::open(path));
    absent(path).or_else(problem).or_else(open)
}

fn not_a_directory(path: &Path) -> Option<String> {
    let is_directory = || fs::metadata(path).is_ok_and(|file| file.is_dir());
    let problem = || format!("{} is not a directory; name one", path.display());
    absent(path).or_else(|| (!is_directory() && !has_nul(path)).then(problem))
}

fn not_json(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(&text).err()?;
    Some(format!("{} is no seccomp profile: {error}", path.display()))
}

/// Whether the kernel has what is asked of it.
fn check_modules(spec: &Spec, host: &Host, findings: &mut Findings) {
    let enabled = host.file("sys/module/apparmor/parameters/enabled");
    let is_enabled = fs::read_to_string(enabled).is_ok_and(|text| text.starts_with('Y'));
    if spec.apparmor.is_some() && !is_enabled {
        findings.add(
            "apparmor",
            "this machine's kernel has no AppArmor at work; leave it out",
        );
    }
    if spec.selinux.is_some() && !host.file("sys/fs/selinux/enforce").exists() {
        findings.add(
            "selinux",
            "this machine's kernel has no SELinux at work; leave it out",
        );
    }
}

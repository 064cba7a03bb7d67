//! Places in the container.

use std::path::{Component, Path, PathBuf};

use super::{invalid, relative};
use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

/// What is in a place, by its field.
struct Taken {
    place: PathBuf,
    field: String,
}

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    let mut taken = Vec::new();
    let mut take = |field: String, path: &Path, findings: &mut Findings| {
        let problem = relative(path);
        if problem.is_some() {
            return findings.maybe(field, problem);
        }
        let place = plain(path);
        let other = taken.iter().find(|taken: &&Taken| taken.place == place);
        if let Some(Taken { field: other, .. }) = other {
            let shown = place.display();
            let problem = format!(
                "{shown} is taken by {other}, and Apptainer keeps one of both; choose another place"
            );
            return findings.add(field, problem);
        }
        findings.maybe(field.clone(), reserved(spec, &place));
        taken.push(Taken { place, field });
    };
    for (index, bind) in spec.binds.iter().enumerate() {
        let field = format!("binds[{index}].destination");
        take(field, bind.destination(), findings);
    }
    for (index, path) in spec.scratch.iter().enumerate() {
        let field = format!("scratch[{index}]");
        take(field.clone(), path, findings);
        if path.is_absolute() {
            let problem = invalid(|action| {
                action.scratch(apptainer_sys::command::Scratch::at(path));
            });
            findings.maybe(field, problem);
        }
    }
    if let Some(home) = &spec.home {
        take("home.destination".to_owned(), home.destination(), findings);
        if home.destination().is_absolute() {
            let problem = invalid(|action| {
                action.home(home.home_of(home.source()));
            });
            findings.maybe("home", problem);
        }
    }
    if !spec.dns.is_empty() {
        take("dns".to_owned(), Path::new("/etc/resolv.conf"), findings);
    }
}

/// The place without what can be said in several ways.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

fn reserved(spec: &Spec, place: &Path) -> Option<&'static str> {
    if place == Path::new("/") {
        return Some("the image is there, and Apptainer shows nothing else; name a place below");
    }
    let taken = Path::new(spec.agent_place());
    (taken.starts_with(place))
        .then_some("supervision needs this file; run what you mean as the payload")
}

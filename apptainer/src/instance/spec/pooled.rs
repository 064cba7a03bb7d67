//! What a spec may not say if there are to be many instances of it, or one used again and again.

use super::error::Findings;
use super::{Spec, SpecError};
use crate::{Contain, Gpu};

impl Spec {
    /// Says everything that only one instance at a time can have.
    pub(in crate::instance) fn validate_for_many(&self) -> Result<(), SpecError> {
        let mut findings = Findings::default();
        if self.name.is_some() {
            let problem =
                "several instances cannot have one name; leave it out to have names generated";
            findings.add("name", problem);
        }
        for (index, port) in self.ports.iter().enumerate() {
            if port.number.is_some() {
                let problem =
                    "several instances cannot have one port; leave it out to have one chosen";
                findings.add(format!("ports[{index}].number"), problem);
            }
        }
        if self.writable {
            let problem = "several instances cannot write to one image; use `temporary_overlay`";
            findings.add("writable", problem);
        }
        if self.workdir.is_some() {
            let problem = "several instances cannot have one; leave it out";
            findings.add("workdir", problem);
        }
        for index in self.written_overlays() {
            let problem = "several instances cannot write to one overlay; use `temporary_overlay`";
            findings.add(format!("overlays[{index}]"), problem);
        }
        findings.into_result()
    }

    /// Says everything by which who uses an instance would find what another has written to it.
    pub(in crate::instance) fn validate_for_reuse(&self) -> Result<(), SpecError> {
        const PROBLEM: &str = "what is written stays in an instance that is used again; leave it out, or have instances replaced";
        let mut findings = Findings::default();
        let written = [
            ("temporary_overlay", self.temporary_overlay),
            ("writable_tmpfs", self.writable_tmpfs),
            ("writable", self.writable),
            ("contain", self.contain == Contain::Docker),
        ];
        for (field, _) in written.into_iter().filter(|(_, is_set)| *is_set) {
            findings.add(field, PROBLEM);
        }
        for index in self.written_overlays() {
            findings.add(format!("overlays[{index}]"), PROBLEM);
        }
        for index in 0..self.scratch.len() {
            findings.add(format!("scratch[{index}]"), PROBLEM);
        }
        for (index, request) in self.gpus.iter().enumerate() {
            // It brings a writable layer in memory.
            if request.kind == Gpu::NvidiaCli {
                findings.add(format!("gpus[{index}]"), PROBLEM);
            }
        }
        findings.into_result()
    }

    fn written_overlays(&self) -> impl Iterator<Item = usize> {
        let overlays = self.overlays.iter().enumerate();
        let written = overlays.filter(|(_, layer)| !layer.is_read_only());
        written.map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::Port;
    use crate::{GpuRequest, OverlayLayer};

    fn fields(result: Result<(), SpecError>) -> Vec<String> {
        let findings = result.err().map_or_else(Vec::new, |error| error.findings);
        findings.into_iter().map(|finding| finding.field).collect()
    }

    #[test]
    fn what_only_one_can_have_is_found() {
        let spec = Spec::new("a.sif")
            .port(Port::named("free"))
            .layer(OverlayLayer::new("/lower").read_only())
            .temporary_overlay();
        assert_eq!(spec.validate_for_many(), Ok(()));
        let spec = spec
            .name("web")
            .port(Port::named("http").number(80))
            .overlay("/upper");
        let expected = ["name", "ports[1].number", "overlays[1]"];
        assert_eq!(fields(spec.validate_for_many()), expected);
    }

    #[test]
    fn what_keeps_what_is_written_is_found() {
        let spec = Spec::new("a.sif")
            .contain(Contain::All)
            .bind("/data", "/data")
            .layer(OverlayLayer::new("/lower").read_only());
        assert_eq!(spec.validate_for_reuse(), Ok(()));
        for (spec, field) in [
            (spec.clone().temporary_overlay(), "temporary_overlay"),
            (spec.clone().writable_tmpfs(), "writable_tmpfs"),
            (spec.clone().writable(), "writable"),
            (spec.clone().contain(Contain::Docker), "contain"),
            (spec.clone().overlay("/upper"), "overlays[1]"),
            (spec.clone().scratch("/scratch"), "scratch[0]"),
            (
                spec.clone().gpu_request(GpuRequest::all(Gpu::NvidiaCli)),
                "gpus[0]",
            ),
        ] {
            assert_eq!(fields(spec.validate_for_reuse()), [field]);
        }
    }
}

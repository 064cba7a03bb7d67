//! What is wrong with limits, as far as can be said without looking at the machine.

use apptainer_sys::cgroup::CpuList;

use super::Limits;
use crate::exec::Resource;

/// With less, not even a shell starts.
const LEAST_MEMORY: u64 = 1 << 20;

impl Limits {
    /// Each problem, with the field that has it.
    pub(crate) fn findings(&self) -> Vec<(String, String)> {
        let mut findings = Vec::new();
        let mut find = |field: &str, problem: Option<String>| {
            findings.extend(problem.map(|problem| (field.to_owned(), problem)));
        };
        find("memory", too_little_memory(self.memory));
        find("memory_high", too_little_memory(self.memory_high));
        if let (Some(high), Some(most)) = (self.memory_high, self.memory)
            && high > most
        {
            let problem = format!("{high} is more than memory, {most}, so it never counts");
            find("memory_high", Some(problem));
        }
        find("cpus", self.cpus.and_then(no_number_of_cpus));
        find("cpu_weight", self.cpu_weight.and_then(no_weight));
        find("cpuset_cpus", self.cpuset_cpus.as_deref().and_then(no_list));
        find("cpuset_mems", self.cpuset_mems.as_deref().and_then(no_list));
        if self.pids == Some(0) {
            find("pids", Some("at least one process must be left".to_owned()));
        }
        for (resource, most) in &self.resources {
            let field = format!("resources.{}", name(*resource));
            find(&field, too_little(*resource, *most));
        }
        findings
    }
}

fn too_little_memory(bytes: Option<u64>) -> Option<String> {
    let bytes = bytes.filter(|bytes| *bytes < LEAST_MEMORY)?;
    Some(format!(
        "{bytes} bytes are too few for any program; it must be {LEAST_MEMORY} at least"
    ))
}

fn no_number_of_cpus(cpus: f64) -> Option<String> {
    let is_usable = cpus.is_finite() && cpus >= 0.01;
    (!is_usable).then(|| format!("{cpus} CPUs are no share; it must be 0.01 at least"))
}

fn no_weight(weight: u32) -> Option<String> {
    let is_usable = (1..=10_000).contains(&weight);
    (!is_usable).then(|| format!("{weight} is not between 1 and 10000"))
}

fn no_list(text: &str) -> Option<String> {
    match text.parse::<CpuList>() {
        Ok(list) if list.is_empty() => Some("it names none".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

fn too_little(resource: Resource, most: u64) -> Option<String> {
    // A program has three, and needs one more to load its libraries.
    let least = match resource {
        Resource::OpenFiles => 4,
        Resource::Stack | Resource::AddressSpace => 1 << 16,
        Resource::Cpu | Resource::Processes => 1,
        _ => 0,
    };
    (most < least).then(|| format!("{most} lets no program run; it must be {least} at least"))
}

/// As it is written.
fn name(resource: Resource) -> String {
    let name = serde_json::to_value(resource).ok();
    let name = name.as_ref().and_then(|name| name.as_str());
    name.unwrap_or_default().to_owned()
}

//! What no process can be given, wherever it stands.

use serde_json::Value;

use crate::instance::spec::Spec;
use crate::instance::spec::error::Findings;

const NUL: &str = "it has a NUL byte in it, which no process can be given";

pub(super) fn check(spec: &Spec, findings: &mut Findings) {
    match serde_json::to_value(spec.noted()) {
        Ok(value) => look(&value, "", findings),
        Err(error) => findings.add(
            "spec",
            format!("it cannot be kept as JSON: {error}; paths have to be UTF-8"),
        ),
    }
}

/// Looks for NUL bytes in all texts, by the names that they have in JSON.
fn look(value: &Value, field: &str, findings: &mut Findings) {
    match value {
        Value::String(text) if text.contains('\0') => {
            findings.add(
                field,
                "it has a NUL byte in it, which no process can be given",
            );
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                look(item, &format!("{field}[{index}]"), findings);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let below = if field.is_empty() {
                    name.clone()
                } else {
                    format!("{field}.{name}")
                };
                if name.contains('\0') {
                    findings.add(&below, NUL);
                }
                look(member, &below, findings);
            }
        }
        _ => {}
    }
}

//! What is wrong with a spec.

use std::fmt;

/// A spec that no instance can be started of, with everything that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpecError {
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Finding {
    /// Where, as in JSON: `binds[2].source`.
    pub field: String,
    /// What it is, and what to do about it.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("use the instance's spec: ")?;
        if let [finding] = self.findings.as_slice() {
            return write!(f, "{finding}");
        }
        write!(f, "{} things are wrong", self.findings.len())?;
        self.findings
            .iter()
            .try_for_each(|finding| write!(f, "\n- {finding}"))
    }
}

impl std::error::Error for SpecError {}

/// Findings as they are made.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.found.push(Finding {
            field: field.into(),
            problem: problem.into(),
        });
    }

    /// A problem that may not be there.
    pub(super) fn maybe(&mut self, field: impl Into<String>, problem: Option<impl Into<String>>) {
        if let Some(problem) = problem {
            self.add(field, problem);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn into_result(self) -> Result<(), SpecError> {
        if self.found.is_empty() {
            return Ok(());
        }
        Err(SpecError {
            findings: self.found,
        })
    }
}

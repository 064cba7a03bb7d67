//! Sections that are made of values.

use super::{DefinitionError, shell};

/// The section, which is a script that every start of a container runs.
pub(super) fn environment(variables: &[(String, String)]) -> Result<String, DefinitionError> {
    let mut section = String::new();
    for (name, value) in variables {
        if !is_variable(name) {
            let name = name.clone();
            return Err(DefinitionError::EnvironmentName { name });
        }
        if value.contains('\0') {
            let section = "environment";
            return Err(DefinitionError::Nul { section });
        }
        section += &["export ", name, "=", &shell::quote(value), "\n"].concat();
    }
    Ok(section)
}

fn is_variable(name: &str) -> bool {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let is_name = name.chars().all(is_word) && !name.is_empty();
    // Apptainer's own shell sets these, and lets nobody change them.
    let is_taken = ["UID", "EUID", "GID"].contains(&name)
        || name.starts_with("APPTAINER_")
        || name.starts_with("SINGULARITY_");
    is_name && !name.starts_with(|first: char| first.is_ascii_digit()) && !is_taken
}

/// The section, which is no script.
pub(super) fn labels(labels: &[(String, String)]) -> Result<String, DefinitionError> {
    let mut section = String::new();
    for (name, value) in labels {
        let is_name = !name.is_empty()
            && !name.starts_with(['#', '%'])
            && !name.contains(|letter: char| letter.is_whitespace() || letter == '\0');
        let is_line = value.trim() == value && !value.contains(['\n', '\0']);
        if !is_name || !is_line {
            let (name, value) = (name.clone(), value.clone());
            return Err(DefinitionError::Label { name, value });
        }
        section += &["    ", name, " ", value, "\n"].concat();
    }
    Ok(section)
}

/// The section: no shell reads it, so nothing can be hidden in it.
pub(super) fn help(text: &str) -> Result<&str, DefinitionError> {
    let section = "help";
    if text.contains('\0') {
        return Err(DefinitionError::Nul { section });
    }
    match shell::first_changed(text) {
        Some(line) => Err(DefinitionError::Line {
            section,
            line: line.to_owned(),
        }),
        None => Ok(text),
    }
}

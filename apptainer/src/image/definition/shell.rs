//! Text that arrives in a shell as it is, though it lies in a definition.

use super::DefinitionError;

/// One word for a shell, in quotes, no line of which Apptainer reads as something else.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("'");
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            quoted.push('\n');
            if is_taken(line) {
                quoted.push_str("''");
            }
        }
        for letter in line.chars() {
            match letter {
                // Apptainer's own shell, which runs %environment, keeps the `\` of `\'`.
                '\'' => quoted.push_str(r#"'"'"'"#),
                // Apptainer drops it from the end of a line.
                '\r' => quoted.push_str("\r''"),
                letter => quoted.push(letter),
            }
        }
    }
    quoted.push('\'');
    quoted
}

/// A section that is a script.
pub(super) fn script(section: &'static str, text: &str) -> Result<String, DefinitionError> {
    if text.contains('\0') {
        return Err(DefinitionError::Nul { section });
    }
    // In %post it is but a comment.
    let has_interpreter = section != "post" && text.trim_start().starts_with("#!");
    let Some(line) = first_changed(text) else {
        // Apptainer finds the interpreter in the first line only.
        let is_moved = has_interpreter.then(|| text.trim_start());
        return Ok(is_moved.unwrap_or(text).to_owned());
    };
    if has_interpreter {
        let line = line.to_owned();
        return Err(DefinitionError::Line { section, line });
    }
    Ok(format!("eval {}", quote(text)))
}

/// The first line that does not arrive as it is.
pub(super) fn first_changed(text: &str) -> Option<&str> {
    let mut lines = text.split('\n');
    lines.find(|line| is_taken(line) || line.ends_with('\r'))
}

/// Whether Apptainer reads a line as the begin of a section, or of a stage.
fn is_taken(line: &str) -> bool {
    line.trim_start().starts_with('%') || begins_stage(line)
}

/// Whether a line begins a stage, wherever it stands.
pub(super) fn begins_stage(line: &str) -> bool {
    const BEGIN: &[u8] = b"bootstrap:";
    let begin = line.as_bytes().get(..BEGIN.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(BEGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_left_alone_where_that_is_possible() {
        let text = "set -u\nprintf '%s\\n' a\n# 100 %\n";
        assert_eq!(script("post", text).unwrap(), text);
    }

    #[test]
    fn lines_that_begin_sections_or_stages_are_hidden() {
        let text = "cat <<'END'\n%post\n  % x\nBOOTSTRAP: y\nEND\n";
        assert_eq!(
            script("post", text).unwrap(),
            "eval 'cat <<'\"'\"'END'\"'\"'\n''%post\n''  % x\n''BOOTSTRAP: y\nEND\n'"
        );
        assert_eq!(script("post", "a\r\nb").unwrap(), "eval 'a\r''\nb'");
    }

    #[test]
    fn what_no_shell_reads_cannot_be_hidden_from() {
        let refused = script("runscript", "#!/usr/bin/python3\nx = (1\n% 2)").unwrap_err();
        assert!(matches!(refused, DefinitionError::Line { line, .. } if line == "% 2)"));
        assert!(matches!(
            script("post", "\0"),
            Err(DefinitionError::Nul { .. })
        ));
    }
}

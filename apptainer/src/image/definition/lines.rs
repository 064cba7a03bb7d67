//! What a definition's text says is copied from this machine.

use super::DefinitionError;
use super::files::Copy;
use super::section::Section;

/// The lines of a `%files` section.
pub(super) fn read_files(section: &Section<'_>) -> Result<Vec<Copy>, DefinitionError> {
    let mut copies = Vec::new();
    for line in meant_lines(section.body) {
        let mut words = words(line).into_iter().map(|word| word.trim_matches('"'));
        let pattern = words.next().ok_or_else(|| DefinitionError::FilesLine {
            line: line.to_owned(),
        })?;
        let destination = words.next().unwrap_or_default();
        // Apptainer passes over it.
        if !pattern.is_empty() {
            copies.push(Copy::Line {
                pattern: pattern.to_owned(),
                destination: destination.to_owned(),
            });
        }
    }
    Ok(copies)
}

/// The lines of an `%appfiles` section.
pub(super) fn read_app_files(section: &Section<'_>) -> Vec<Copy> {
    let copies = meant_lines(section.body).map(|line| {
        let said = line.split('#').next().unwrap_or_default().trim();
        let (source, destination) = said.split_once(' ').unwrap_or((said, said));
        Copy::App {
            heading: section.heading.to_owned(),
            source: source.to_owned(),
            destination: destination.to_owned(),
        }
    });
    copies.collect()
}

fn meant_lines(body: &str) -> impl Iterator<Item = &str> {
    let lines = body.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The words of a line of `%files`: with their double quotes, and with no end to single ones,
/// which a shell is left to refuse.
fn words(line: &str) -> Vec<&str> {
    let is_blank = |letter: char| matches!(letter, ' ' | '\t' | '\r' | '\x0c');
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => rest[1..].find('"').map_or(0, |end| end + 2),
            '\'' => rest[1..].find('\'').map_or(rest.len(), |end| end + 1),
            first if is_blank(first) => 0,
            _ => {
                let ends = |letter: char| is_blank(letter) || matches!(letter, '"' | '\'');
                rest.find(ends).unwrap_or(rest.len())
            }
        };
        if length > 0 {
            words.push(&rest[..length]);
        }
        rest = &rest[length.max(first.len_utf8())..];
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_line_are_apptainers() {
        let table: [(&str, &[&str]); 6] = [
            ("/a /b", &["/a", "/b"]),
            ("\"/a b\"\t\"/c\" d", &["\"/a b\"", "\"/c\"", "d"]),
            ("/a\"b c\"", &["/a", "\"b c\""]),
            ("'/a b' /c", &["'/a b", "' /c"]),
            ("\"/a", &["/a"]),
            ("\"", &[]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line), expected, "{line}");
        }
    }
}

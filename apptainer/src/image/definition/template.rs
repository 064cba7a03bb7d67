//! The `{{ name }}` of definitions.
//!
//! They are filled in here, the way Apptainer 1.4 does, so that what is looked at is what is built.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::DefinitionError;

/// The argument that stands for the braces of a text that is no template.
const BRACES: &str = "apptainer_rs_braces";

/// A `{{ name }}`.
struct Hole<'a> {
    at: Range<usize>,
    name: &'a str,
}

/// Fills in the text of a stage: with `arguments`, and with its own `defaults`. Names those
/// that were used in `used`.
pub(super) fn fill(
    text: &str,
    arguments: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
    used: &mut BTreeSet<String>,
) -> Result<String, DefinitionError> {
    let value = |name: &str| arguments.get(name).or_else(|| defaults.get(name));
    let mut filled = String::new();
    let mut end = 0;
    for hole in live_holes(text) {
        let Some(given) = value(hole.name) else {
            let name = hole.name.to_owned();
            return Err(DefinitionError::NoArgument { name });
        };
        used.insert(hole.name.to_owned());
        filled.push_str(&text[end..hole.at.start]);
        filled.push_str(&fill_value(given, value));
        end = hole.at.end;
    }
    filled.push_str(&text[end..]);
    Ok(filled)
}

/// A value may have holes of its own; what fills those is not looked at again.
fn fill_value<'a>(given: &str, value: impl Fn(&str) -> Option<&'a String>) -> String {
    let mut filled = given.to_owned();
    for hole in holes(given) {
        if let Some(inner) = value(hole.name) {
            filled = filled.replace(&given[hole.at], inner);
        }
    }
    filled
}

/// The text of a stage that Apptainer, filling it in, makes `text` of.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut end = 0;
    for hole in live_holes(text) {
        escaped.push_str(&text[end..hole.at.start]);
        escaped.push_str("{{ ");
        escaped.push_str(BRACES);
        escaped.push_str(" }}");
        end = hole.at.start + "{{".len();
    }
    escaped.push_str(&text[end..]);
    if end > 0 {
        if !escaped.ends_with('\n') {
            escaped.push('\n');
        }
        escaped += &["\n%arguments\n    ", BRACES, "={{\n"].concat();
    }
    escaped
}

/// The defaults that a stage has in the text of its `%arguments` section.
pub(super) fn defaults(section: &str) -> impl Iterator<Item = (String, String)> + '_ {
    section.lines().filter_map(|line| {
        let line = line.trim();
        let (name, value) = line.split_once('=')?;
        let name = name.trim();
        let is_one = !line.starts_with('#') && !name.is_empty();
        is_one.then(|| (name.to_owned(), value.trim().to_owned()))
    })
}

/// Those that Apptainer fills in: it leaves alone what it takes for a comment, which is what
/// follows a `#`, with more than a `!` between, in the same line.
fn live_holes(text: &str) -> Vec<Hole<'_>> {
    let mut end = 0;
    let mut found = Vec::new();
    for hole in holes(text) {
        let before = &text[end..hole.at.start];
        let line = before
            .rfind('\n')
            .map_or(before, |newline| &before[newline..]);
        let is_comment = |pair: &[u8]| pair[0] == b'#' && pair[1] != b'!';
        if !line.as_bytes().windows(2).any(is_comment) {
            end = hole.at.end;
            found.push(hole);
        }
    }
    found
}

/// All of them, in order.
fn holes(text: &str) -> Vec<Hole<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("{{").map(|at| from + at) {
        // Of three braces the last two count.
        from = start + 1;
        if let Some((name, length)) = hole_at(&text[start..]) {
            let at = start..start + length;
            from = at.end;
            found.push(Hole { at, name });
        }
    }
    found
}

/// The name in, and the length of, what stands at the begin of `text`.
fn hole_at(text: &str) -> Option<(&str, usize)> {
    let is_blank = |letter: char| matches!(letter, ' ' | '\t' | '\n' | '\r' | '\x0c');
    let inner = text.strip_prefix("{{")?.trim_start_matches(is_blank);
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let after = inner.trim_start_matches(is_word);
    let name = &inner[..inner.len() - after.len()];
    let rest = after.trim_start_matches(is_blank).strip_prefix("}}")?;
    (!name.is_empty()).then_some((name, text.len() - rest.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str, values: &[(&str, &str)]) -> Result<String, DefinitionError> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let values = values.iter().map(owned).collect();
        fill(text, &values, &BTreeMap::new(), &mut BTreeSet::new())
    }

    #[test]
    fn holes_are_filled_the_way_apptainer_does() {
        let values = [("a", "1"), ("b", "{{ a }}{{b}}")];
        let table = [
            ("{{a}} {{ a }} {{\n a\t}}", "1 1 1"),
            ("{{ b }}", "1{{ a }}{{b}}"),
            ("# {{ c }}\n{{ a }}", "# {{ c }}\n1"),
            ("echo $# {{ a }}", "echo $# {{ a }}"),
            ("#!{{ a }} #{{ a }}", "#!1 #1"),
            (
                "{{ a b }} {{}} {{{a}}} {{ .a }}",
                "{{ a b }} {{}} {1} {{ .a }}",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text, &values).unwrap(), expected, "{text}");
        }
        let error = filled("{{ c }}", &values).unwrap_err();
        assert_eq!(
            error.to_string(),
            "fill in the definition: {{ c }} has no value; give an argument, or a default in an \
             %arguments section of the same stage"
        );
    }

    #[test]
    fn defaults_are_lines_with_an_equals_sign() {
        let found: Vec<_> = defaults("\n a = 1=2 \n# b=3\n c\n =4\n").collect();
        assert_eq!(found, [("a".to_owned(), "1=2".to_owned())]);
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_filled_in_as_it_was(text in "[{} #!a\n\r]{0,40}|[{} #a]{0,40}") {
            let escaped = escape(&text);
            let text_again = filled(&escaped, &[(BRACES, "{{")]).unwrap();
            let own = format!("\n%arguments\n    {BRACES}={{{{\n");
            let text_again = text_again.strip_suffix(&own).unwrap_or(&text_again);
            prop_assert_eq!(text_again.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}

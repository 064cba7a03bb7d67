//! The parts of a definition's text, as Apptainer tells them apart.

use super::DefinitionError;
use super::shell::begins_stage;

/// A part of a stage's text, from a line that begins with `%` on.
pub(super) struct Section<'a> {
    /// Its first line.
    pub(super) heading: &'a str,
    /// In lower case, without `%`.
    pub(super) name: String,
    /// What follows the name in the heading, without comments.
    pub(super) argument: &'a str,
    /// Its other lines.
    pub(super) body: &'a str,
    /// All of it.
    pub(super) text: &'a str,
}

/// Apptainer reads a definition with Go's `bufio.Scanner`, whose buffer has 64 KiB, and which
/// must see the line that begins the next section.
const LONGEST: usize = 64 * 1024 - 256;

const SECTIONS: [&str; 11] = [
    "arguments",
    "environment",
    "files",
    "help",
    "labels",
    "post",
    "pre",
    "runscript",
    "setup",
    "startscript",
    "test",
];

const APP_SECTIONS: [&str; 8] = [
    "appenv",
    "appfiles",
    "apphelp",
    "appinstall",
    "applabels",
    "apprun",
    "appstart",
    "apptest",
];

/// The text before the first stage, and each stage's.
pub(super) fn stages(text: &str) -> (&str, Vec<&str>) {
    let mut starts: Vec<usize> = lines(text)
        .filter(|(_, line)| begins_stage(line))
        .map(|(at, _)| at)
        .collect();
    let before = &text[..starts.first().copied().unwrap_or(text.len())];
    starts.push(text.len());
    let stages = starts.windows(2).map(|pair| &text[pair[0]..pair[1]]);
    (before, stages.collect())
}

/// A stage's text before its sections, and these.
pub(super) fn sections(stage: &str) -> (&str, Vec<Section<'_>>) {
    let mut starts: Vec<usize> = lines(stage)
        .filter(|(_, line)| line.trim_start().starts_with('%'))
        .map(|(at, _)| at)
        .collect();
    let header = &stage[..starts.first().copied().unwrap_or(stage.len())];
    starts.push(stage.len());
    let sections = starts
        .windows(2)
        .map(|pair| section(&stage[pair[0]..pair[1]]));
    (header, sections.collect())
}

fn section(text: &str) -> Section<'_> {
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    let heading = first.trim_end_matches('\r');
    let words = heading.trim_start_matches('%');
    let (name, argument) = words.split_once(' ').unwrap_or((words, ""));
    let argument = argument.split('#').next().unwrap_or_default();
    Section {
        heading,
        name: name.to_lowercase(),
        argument,
        body,
        text,
    }
}

/// Each line, and where it begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    })
}

impl Section<'_> {
    /// Finds what Apptainer would not read.
    pub(super) fn check(&self) -> Result<(), DefinitionError> {
        let name = self.name.as_str();
        let is_app = APP_SECTIONS.contains(&name) && !self.argument.is_empty();
        if !is_app && !SECTIONS.contains(&name) {
            let heading = self.heading.to_owned();
            return Err(DefinitionError::UnknownSection { heading });
        }
        if self.text.len() > LONGEST {
            return Err(DefinitionError::TooLong {
                section: self.name.clone(),
                bytes: self.text.len(),
            });
        }
        Ok(())
    }

    /// The stage that a `%files` section copies from, if it is not this machine.
    pub(super) fn source_stage(&self) -> Result<Option<&str>, DefinitionError> {
        if self.argument.is_empty() {
            return Ok(None);
        }
        let words: Vec<&str> = self.argument.split_whitespace().collect();
        match words[..] {
            // The other word may be any.
            [_, stage] => Ok(Some(stage)),
            // Apptainer passes over it in silence.
            _ => Err(DefinitionError::FilesHeading {
                heading: self.heading.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_sections_are_told_apart() {
        let text = "# a\nBootstrap: docker\nFrom: a\n%post\n x\n\n%Files from b # c\r\n/a\nbootstrap: scratch\n";
        let (before, stages) = stages(text);
        assert_eq!(before, "# a\n");
        assert_eq!(stages[1], "bootstrap: scratch\n");
        let (header, found) = sections(stages[0]);
        assert_eq!(header, "Bootstrap: docker\nFrom: a\n");
        let [post, files] = &found[..] else {
            panic!("{} sections", found.len());
        };
        assert_eq!((post.name.as_str(), post.body), ("post", " x\n\n"));
        assert_eq!((files.name.as_str(), files.body), ("files", "/a\n"));
        assert_eq!(files.source_stage().unwrap(), Some("b"));
    }

    #[test]
    fn what_apptainer_would_not_read_is_found() {
        let check = |text: &str| section(text).check();
        for text in ["%post -c /bin/bash\n", "%appRun a\n", "%%post"] {
            assert!(check(text).is_ok(), "{text}");
        }
        for text in ["%pots\n", " %post\n", "%post\t\n", "%apprun\n"] {
            let refused = check(text);
            assert!(
                matches!(refused, Err(DefinitionError::UnknownSection { .. })),
                "{text}"
            );
        }
        let long = format!("%post\n{}", "x".repeat(LONGEST));
        assert!(matches!(check(&long), Err(DefinitionError::TooLong { .. })));
        assert!(section("%files for ever and\n").source_stage().is_err());
    }
}

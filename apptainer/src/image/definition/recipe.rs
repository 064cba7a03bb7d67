//! A definition in the parts that matter for building it.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Copy;
use super::header::Header;
use super::section::{Section, sections, stages};
use super::{DefinitionError, lines, template};
use crate::image::Reference;

/// A definition that has been read, and that Apptainer would read.
#[derive(Debug)]
pub(in crate::image) struct Recipe {
    parts: Vec<Part>,
    has_host_script: bool,
}

#[derive(Debug)]
pub(super) enum Part {
    /// Where a stage begins.
    Stage(Header),
    Text(String),
    Copy(Copy),
}

impl Recipe {
    /// Of one stage, so far without sections.
    pub(super) fn of_image(base: Reference) -> Self {
        Self {
            parts: vec![Part::Stage(Header::of_image(base))],
            has_host_script: false,
        }
    }

    /// Reads a definition file's text, filled in with the arguments, all of which are needed.
    pub(super) fn read(
        text: &str,
        arguments: &BTreeMap<String, String>,
    ) -> Result<Self, DefinitionError> {
        let (before, stages) = stages(text);
        let is_meant = |line: &str| !line.is_empty() && !line.starts_with('#');
        if stages.is_empty() || before.lines().map(str::trim).any(is_meant) {
            return Err(DefinitionError::NoBootstrap);
        }
        let mut recipe = Self {
            parts: vec![Part::Text(before.to_owned())],
            has_host_script: false,
        };
        let mut used = BTreeSet::new();
        for stage in stages {
            let mut defaults = BTreeMap::new();
            let (_, parts) = sections(stage);
            for section in parts.iter().filter(|section| section.name == "arguments") {
                defaults.extend(template::defaults(section.body));
            }
            let filled = template::fill(stage, arguments, &defaults, &mut used)?;
            recipe.read_stage(&filled)?;
        }
        match arguments.keys().find(|name| !used.contains(*name)) {
            Some(name) => Err(unused(name)),
            None => Ok(recipe),
        }
    }

    fn read_stage(&mut self, text: &str) -> Result<(), DefinitionError> {
        let (header, sections) = sections(text);
        let header = Header::read(header)?;
        let earlier: Vec<String> = self
            .headers()
            .filter_map(Header::stage)
            .map(str::to_owned)
            .collect();
        self.parts.push(Part::Stage(header));
        for section in sections {
            section.check()?;
            match section.name.as_str() {
                "files" => self.read_files(&section, &earlier)?,
                "appfiles" => self.copy(lines::read_app_files(&section)),
                name => {
                    let is_host_script = matches!(name, "pre" | "setup");
                    self.has_host_script |= is_host_script && !section.body.trim().is_empty();
                    self.write(section.text);
                }
            }
        }
        Ok(())
    }

    fn read_files(
        &mut self,
        section: &Section<'_>,
        earlier: &[String],
    ) -> Result<(), DefinitionError> {
        match section.source_stage()? {
            None => self.copy(lines::read_files(section)?),
            Some(stage) if earlier.iter().any(|name| name == stage) => self.write(section.text),
            Some(stage) => {
                let name = stage.to_owned();
                return Err(DefinitionError::UnknownStage { name });
            }
        }
        Ok(())
    }

    /// Adds a section to the last stage.
    pub(super) fn add_section(&mut self, name: &str, body: &str) -> Result<(), DefinitionError> {
        let text = format!("\n%{name}\n{body}\n");
        let (_, sections) = sections(&text);
        sections.iter().try_for_each(Section::check)?;
        self.write(&text);
        Ok(())
    }

    pub(super) fn copy(&mut self, copies: impl IntoIterator<Item = Copy>) {
        self.parts.extend(copies.into_iter().map(Part::Copy));
    }

    fn write(&mut self, text: &str) {
        let mut text = text.to_owned();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.parts.push(Part::Text(text));
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn headers(&self) -> impl Iterator<Item = &Header> {
        self.parts.iter().filter_map(|part| match part {
            Part::Stage(header) => Some(header),
            Part::Text(_) | Part::Copy(_) => None,
        })
    }

    /// The images that its stages start from, as far as these can be had apart from the build:
    /// in a registry or a library, or files of this machine. The same may be there twice.
    pub(in crate::image) fn bases(&self) -> Vec<Reference> {
        self.headers().filter_map(Header::base).cloned().collect()
    }

    /// Whether a part of it runs on this machine while it is built (`%pre`, `%setup`): what that
    /// reads is in no hash.
    pub(in crate::image) fn has_host_script(&self) -> bool {
        self.has_host_script
    }
}

/// No `{{ name }}` asks for an argument.
pub(super) fn unused(name: &str) -> DefinitionError {
    let name = name.to_owned();
    DefinitionError::UnusedArgument { name }
}

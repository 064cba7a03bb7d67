//! What an image is built from.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::{Copy, Source};
use super::recipe::unused;
use super::{DefinitionError, Recipe, shell, written};
use crate::image::{Reference, ReferenceError};

/// What an image is built from: another image, and what is done to it.
///
/// Made section by section, everything arrives as it is, whatever characters it is made of:
///
/// ```
/// use apptainer::image::Definition;
///
/// let definition = Definition::from_image("docker://debian:12")
///     .files("target/release/server", "/usr/local/bin/")
///     .file_with("port = 8080\n", "/etc/server.toml", 0o644)
///     .post("apt-get update && apt-get install --yes ca-certificates")
///     .environment("SERVER_MOTTO", "it's \"$5\"")
///     .runscript("exec server \"$@\"")
///     .label("org.example.team", "storage");
/// ```
///
/// A definition file serves as well, with as many stages as it likes:
///
/// ```
/// # use apptainer::image::Definition;
/// let definition = Definition::from_file("server.def").argument("version", "1.2");
/// ```
///
/// What is wrong with it is told when it is built, before anything is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    origin: Origin,
    arguments: BTreeMap<String, String>,
    copies: Vec<(Source, PathBuf)>,
    environment: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    post: Vec<String>,
    runscript: Option<String>,
    startscript: Option<String>,
    test: Option<String>,
    help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Image(Result<Reference, ReferenceError>),
    Text(String),
    File(PathBuf),
}

impl fmt::Display for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Image(Ok(base)) => write!(f, "definition on {base}"),
            Origin::File(path) => write!(f, "definition {}", path.display()),
            Origin::Image(Err(_)) | Origin::Text(_) => write!(f, "definition"),
        }
    }
}

impl Definition {
    /// Starts from an image, so far with nothing done to it: any that
    /// [`Apptainer::image`](crate::Apptainer::image) takes.
    pub fn from_image(reference: impl AsRef<OsStr>) -> Self {
        Self::new(Origin::Image(Reference::parse(reference)))
    }

    /// Takes the text of a definition file.
    ///
    /// It means what it does to `apptainer build`: paths in its `%files` are relative to the
    /// current directory, and expanded by a shell. What is added to it comes after it, in its
    /// last stage.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self::new(Origin::Text(text.into()))
    }

    /// Takes a definition file, as [`from_text`](Self::from_text) does its text. It is read when
    /// the image is built.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self::new(Origin::File(path.into()))
    }

    fn new(origin: Origin) -> Self {
        Self {
            origin,
            arguments: BTreeMap::new(),
            copies: Vec::new(),
            environment: Vec::new(),
            labels: Vec::new(),
            post: Vec::new(),
            runscript: None,
            startscript: None,
            test: None,
            help: None,
        }
    }

    /// Fills in each `{{ name }}` of a definition file.
    ///
    /// There must be one. What is given section by section has none: there, braces are braces.
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Copies a file, or all that is in a directory, from this machine, before
    /// [`post`](Self::post) is run.
    ///
    /// `destination` is its place in the image, from `/` on; one that ends in `/` is the
    /// directory that it goes into, under its own name. What is missing above it is made, and
    /// what is in a directory is added to one that is there. Links are followed; permissions
    /// arrive but for the write permission of others, owners and times do not.
    ///
    /// Apptainer follows a link of the image that has the name of something in the directory, and
    /// one that begins with `/` leads out of the image, to this machine: into an image that is not
    /// trusted, copy file by file.
    pub fn files(mut self, source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        let source = Source::Path(source.into());
        self.copies.push((source, destination.into()));
        self
    }

    /// Writes a file, before [`post`](Self::post) is run: at `destination`, from `/` on, with
    /// permissions such as `0o644`, of which the write permission of others does not arrive.
    pub fn file_with(
        mut self,
        content: impl Into<Vec<u8>>,
        destination: impl Into<PathBuf>,
        mode: u32,
    ) -> Self {
        let content = content.into();
        let source = Source::Bytes { content, mode };
        self.copies.push((source, destination.into()));
        self
    }

    /// Runs a script in the image as it is built, with `sh -ex`, after those that were given
    /// before.
    pub fn post(mut self, script: impl Into<String>) -> Self {
        self.post.push(script.into());
        self
    }

    /// Sets a variable for everything that is run in the image.
    pub fn environment(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Says what `apptainer run` runs: a script for `sh`, or for what its `#!` line names.
    pub fn runscript(mut self, script: impl Into<String>) -> Self {
        self.runscript = Some(script.into());
        self
    }

    /// Says what is run when an instance starts: a script as [`runscript`](Self::runscript)'s.
    pub fn startscript(mut self, script: impl Into<String>) -> Self {
        self.startscript = Some(script.into());
        self
    }

    /// Says what is run to see whether the image is fit for use, at the end of the build too,
    /// which fails if it does: a script as [`runscript`](Self::runscript)'s.
    pub fn test(mut self, script: impl Into<String>) -> Self {
        self.test = Some(script.into());
        self
    }

    /// Adds a label. A name is one word, a value one line.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Says what `apptainer run-help` tells.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// Reads it, and finds what is wrong with it but for the files that it copies.
    ///
    /// Blocks: reads a definition file.
    pub(in crate::image) fn recipe(&self) -> Result<Recipe, DefinitionError> {
        let mut recipe = match &self.origin {
            Origin::Text(text) => Recipe::read(text, &self.arguments)?,
            Origin::File(path) => Recipe::read(&read(path)?, &self.arguments)?,
            Origin::Image(_) if !self.arguments.is_empty() => {
                let name = self.arguments.keys().next().map_or("", String::as_str);
                return Err(unused(name));
            }
            Origin::Image(reference) => Recipe::of_image(reference.clone()?),
        };
        self.add_copies(&mut recipe)?;
        self.add_sections(&mut recipe)?;
        Ok(recipe)
    }

    fn add_copies(&self, recipe: &mut Recipe) -> Result<(), DefinitionError> {
        for (source, destination) in &self.copies {
            match *source {
                Source::Bytes { mode, .. } if mode > 0o777 => {
                    return Err(DefinitionError::Mode { mode });
                }
                _ => recipe.copy([Copy::Exact {
                    source: source.clone(),
                    destination: destination.clone(),
                }]),
            }
        }
        Ok(())
    }

    fn add_sections(&self, recipe: &mut Recipe) -> Result<(), DefinitionError> {
        if !self.post.is_empty() {
            recipe.add_section("post", &shell::script("post", &self.post.join("\n"))?)?;
        }
        if !self.environment.is_empty() {
            recipe.add_section("environment", &written::environment(&self.environment)?)?;
        }
        let scripts = [
            ("runscript", &self.runscript),
            ("startscript", &self.startscript),
            ("test", &self.test),
        ];
        for (section, script) in scripts {
            if let Some(script) = script {
                recipe.add_section(section, &shell::script(section, script)?)?;
            }
        }
        if !self.labels.is_empty() {
            recipe.add_section("labels", &written::labels(&self.labels)?)?;
        }
        if let Some(help) = &self.help {
            recipe.add_section("help", written::help(help)?)?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String, DefinitionError> {
    let failed = |source: io::Error| DefinitionError::Read {
        path: path.to_owned(),
        source,
    };
    fs::read_to_string(path).map_err(failed)
}

//! `images build`

use std::ffi::OsString;
use std::io::{Write, stdout};
use std::path::PathBuf;

use apptainer::image::{Definition, ImageError};
use apptainer::{Apptainer, Image};
use clap::Args;
use examples::Bars;

use crate::Result;
use crate::how::{How, remark};

/// Prints the path of what `apptainer run` takes.
#[derive(Args)]
pub(crate) struct Build {
    /// A definition file
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    file: Option<PathBuf>,
    /// Start from this image in place of a definition file
    #[arg(long, value_name = "REF")]
    from: Option<OsString>,
    /// Fill in {{ NAME }} in the definition file
    #[arg(long = "arg", value_name = "NAME=VALUE", value_parser = pair::<'='>)]
    arguments: Vec<(String, String)>,
    /// Copy a file, or what is in a directory, into the image
    #[arg(long = "copy", value_name = "SOURCE:DESTINATION", value_parser = pair::<':'>)]
    copies: Vec<(String, String)>,
    /// Run this script in the image as it is built
    #[arg(long = "post", value_name = "SCRIPT")]
    scripts: Vec<String>,
    /// Set a variable for all that is run in the image
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = pair::<'='>)]
    variables: Vec<(String, String)>,
    /// What `apptainer run` is to run
    #[arg(long, value_name = "SCRIPT")]
    runscript: Option<String>,
    /// Build it even though the same has been built before
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    how: How,
}

fn pair<const SEPARATOR: char>(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(SEPARATOR)
        .ok_or_else(|| format!("it has no `{SEPARATOR}`"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Build {
    pub(crate) async fn run(self, client: &Apptainer) -> Result<()> {
        let image = self.image(client).await.inspect_err(show_output)?;
        remark(&image);
        writeln!(stdout(), "{}", image.path().display())?;
        Ok(())
    }

    async fn image(&self, client: &Apptainer) -> Result<Image, ImageError> {
        let definition = self.definition();
        let bars = Bars::new(definition.to_string());
        let mut build = client
            .build(definition)
            .policy(self.how.policy)
            .base_signatures(self.how.signatures())
            .on_progress(bars.listener());
        if let Some(compression) = self.how.compression {
            build = build.compression(compression);
        }
        if self.rebuild {
            build = build.rebuild();
        }
        build.await
    }

    fn definition(&self) -> Definition {
        let mut definition = match (&self.file, &self.from) {
            // By this it is found again from anywhere.
            (Some(file), _) => {
                Definition::from_file(std::path::absolute(file).unwrap_or(file.clone()))
            }
            (None, from) => Definition::from_image(from.as_deref().unwrap_or_default()),
        };
        for (name, value) in &self.arguments {
            definition = definition.argument(name, value);
        }
        for (source, destination) in &self.copies {
            definition = definition.files(source, destination);
        }
        for (name, value) in &self.variables {
            definition = definition.environment(name, value);
        }
        for script in &self.scripts {
            definition = definition.post(script);
        }
        match &self.runscript {
            Some(script) => definition.runscript(script),
            None => definition,
        }
    }
}

/// Shows what a script that failed has written.
fn show_output(error: &ImageError) {
    if let ImageError::Apptainer { failure, .. } = error {
        for text in [&failure.stdout, &failure.stderr] {
            text.lines().for_each(|line| eprintln!("  {line}"));
        }
    }
}

//! `images export`

use std::io::{Write, stdout};
use std::path::PathBuf;

use apptainer::image::ExportOci;
use apptainer::{Apptainer, Image};
use clap::Args;
use examples::Bars;

use crate::{Result, select};

#[derive(Args)]
pub(crate) struct Export {
    /// What it is called, or its id, digest or path
    reference: String,
    /// A SIF file, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `oras://..` or `library://..`
    #[arg(value_parser = Target::parse)]
    target: Target,
    /// Replace what is there
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone)]
enum Target {
    Sif(PathBuf),
    Layout(PathBuf, Option<String>),
    Archive(PathBuf, Option<String>),
    Registry(String),
}

impl Target {
    #[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
    fn parse(text: &str) -> Result<Self, String> {
        let place = |rest: &str| match rest.split_once(':') {
            Some((path, tag)) => (PathBuf::from(path), Some(tag.to_owned())),
            None => (PathBuf::from(rest), None),
        };
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = place(rest);
            return Ok(Self::Layout(path, tag));
        }
        if let Some(rest) = text.strip_prefix("oci-archive:") {
            let (path, tag) = place(rest);
            return Ok(Self::Archive(path, tag));
        }
        if text.contains("://") {
            return Ok(Self::Registry(text.to_owned()));
        }
        Ok(Self::Sif(text.into()))
    }
}

impl Export {
    pub(crate) async fn run(self, client: &Apptainer) -> Result<()> {
        let store = client.store();
        let stored = select::one(&store, &self.reference).await?;
        let image = store.image(&stored).await?;
        let bars = Bars::new(&self.reference);
        bars.say("exporting");
        let done = self.export(&image).await?;
        drop(bars);
        writeln!(stdout(), "{done}")?;
        Ok(())
    }

    /// Says what has been made.
    async fn export(self, image: &Image) -> Result<String> {
        match self.target {
            Target::Sif(path) => {
                let mut export = image.export_sif(&path);
                if self.overwrite {
                    export = export.overwrite();
                }
                export.await?;
                Ok(path.display().to_string())
            }
            Target::Layout(path, tag) => {
                oci(image.export_oci_layout(path), tag, self.overwrite).await
            }
            Target::Archive(path, tag) => {
                oci(image.export_oci_archive(path), tag, self.overwrite).await
            }
            Target::Registry(reference) => {
                image.push(&reference).await?;
                Ok(reference)
            }
        }
    }
}

async fn oci(mut export: ExportOci, tag: Option<String>, overwrite: bool) -> Result<String> {
    if let Some(tag) = tag {
        export = export.tag(tag);
    }
    if overwrite {
        export = export.overwrite();
    }
    let exported = export.await?;
    Ok(format!("{} {}", exported.tag, exported.digest))
}

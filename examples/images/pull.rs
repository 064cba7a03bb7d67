//! `images pull`

use std::ffi::OsString;
use std::io::{Write, stdout};

use apptainer::image::Platform;
use apptainer::{Apptainer, Image};
use clap::Args;
use examples::Bars;

use crate::Result;
use crate::how::{How, remark};

/// Prints the path of what `apptainer run` takes.
#[derive(Args)]
pub(crate) struct Pull {
    /// A URI (`docker://alpine:3`, `oras://..`, `library://..`), a SIF file or a sandbox
    reference: OsString,
    /// The machines that it is to be for, such as linux/arm64
    #[arg(long)]
    platform: Option<Platform>,
    #[command(flatten)]
    how: How,
}

impl Pull {
    pub(crate) async fn run(self, client: &Apptainer) -> Result<()> {
        let image = self.image(client).await?;
        remark(&image);
        writeln!(stdout(), "{}", image.path().display())?;
        Ok(())
    }

    async fn image(&self, client: &Apptainer) -> Result<Image> {
        let bars = Bars::new(self.reference.to_string_lossy());
        let mut image = client
            .image(&self.reference)
            .policy(self.how.policy)
            .signatures(self.how.signatures())
            .on_progress(bars.listener());
        if let Some(platform) = &self.platform {
            image = image.platform(platform.clone());
        }
        if let Some(compression) = self.how.compression {
            image = image.compression(compression);
        }
        Ok(image.await?)
    }
}

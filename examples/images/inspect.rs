//! `images inspect`

use std::io::{Write, stdout};

use apptainer::image::{Store, StoredImage};
use clap::Args;

use crate::{Result, list, select, units};

#[derive(Args)]
pub(crate) struct Inspect {
    /// What it is called, or its id, digest or path
    reference: String,
}

impl Inspect {
    pub(crate) async fn run(self, store: &Store) -> Result<()> {
        for image in select::all(store, &self.reference).await? {
            show(&image)?;
        }
        Ok(())
    }
}

fn show(image: &StoredImage) -> Result<()> {
    let compression = image.compression.map(|compression| compression.to_string());
    let lines = [
        ("reference", image.reference.clone()),
        ("id", image.id.clone()),
        ("digest", image.digest.clone().unwrap_or_default()),
        ("platform", image.platform.to_string()),
        ("form", list::form(image.form).to_owned()),
        ("compression", compression.unwrap_or_default()),
        ("path", image.path.display().to_string()),
        (
            "size",
            format!("{} ({} bytes)", units::bytes(image.size), image.size),
        ),
        ("made", units::ago(image.created)),
        ("last used", units::ago(image.last_used)),
        ("state", list::state(image)),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(stdout(), "{name:<12} {value}")?;
    }
    Ok(())
}

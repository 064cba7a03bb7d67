//! `images usage`

use std::io::{Write, stdout};

use apptainer::Apptainer;

use crate::Result;
use crate::units;

pub(crate) async fn run(client: &Apptainer) -> Result<()> {
    let usage = client.store().usage().await?;
    let lines = [
        ("SIF files", usage.images),
        ("sandboxes", usage.sandboxes),
        ("unfinished", usage.unfinished),
        ("all", usage.total()),
    ];
    writeln!(stdout(), "{}", client.store_dir().display())?;
    for (what, bytes) in lines {
        writeln!(stdout(), "{what:<12} {:>12}", units::bytes(bytes))?;
    }
    Ok(())
}

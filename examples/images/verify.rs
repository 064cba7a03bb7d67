//! `images verify`

use std::io::{Write, stdout};

use apptainer::image::Store;
use examples::Bars;

use crate::Result;

pub(crate) async fn run(store: &Store) -> Result<()> {
    let bars = Bars::new("verify");
    bars.say("reading all images");
    let damaged = store.verify().await?;
    drop(bars);
    for damage in &damaged {
        let (path, reason) = (damage.image.path.display(), &damage.reason);
        writeln!(stdout(), "{} at {path}: {reason}", damage.image.reference)?;
    }
    if damaged.is_empty() {
        return Ok(());
    }
    let count = damaged.len();
    Err(format!("{count} damaged; take them away by `images remove`, and pull them again").into())
}

//! Which images of the store somebody means.

use std::path::{Path, absolute};

use apptainer::Reference;
use apptainer::image::{Form, Store, StoredImage};

use crate::Result;

/// Those that are called so, or whose id, digest or path that is, and what was extracted from
/// them.
pub(crate) async fn all(store: &Store, text: &str) -> Result<Vec<StoredImage>> {
    let current = current(store, text).await?;
    let list = store.list().await?;
    let is_meant = |image: &&StoredImage| {
        current.contains(&image.id) || is_named(image, text) || is_at(image, text)
    };
    let mut ids: Vec<&str> = list
        .iter()
        .filter(is_meant)
        .map(|image| image.id.as_str())
        .collect();
    if ids.is_empty() {
        let by_id = |image: &&StoredImage| has_id(image, text);
        ids.extend(list.iter().filter(by_id).map(|image| image.id.as_str()));
        ids.dedup();
        if ids.iter().any(|id| *id != ids[0]) && !is_digest(text) {
            return Err(format!("find {text}: several ids begin so; write more of it").into());
        }
    }
    if ids.is_empty() {
        return Err(format!(
            "find {text}: it is not in the store; `images pull` it, or see `images list`"
        )
        .into());
    }
    let is_found = |image: &&StoredImage| ids.contains(&image.id.as_str());
    Ok(list.iter().filter(is_found).cloned().collect())
}

/// The one of them that its name stands for now, or the only one.
pub(crate) async fn one(store: &Store, text: &str) -> Result<StoredImage> {
    let mut found = all(store, text).await?;
    // What was extracted can be had from the SIF file.
    if found.iter().any(|image| image.form == Form::Sif) {
        found.retain(|image| image.form == Form::Sif);
    }
    let current = current(store, text).await?;
    if found.iter().any(|image| current.contains(&image.id)) {
        found.retain(|image| current.contains(&image.id));
    }
    let first = found.swap_remove(0);
    if found.iter().any(|image| image.id != first.id) {
        return Err(format!("find {text}: there are several; name one by its id").into());
    }
    Ok(first)
}

/// The ids of what a name led to when it was last asked for.
async fn current(store: &Store, text: &str) -> Result<Vec<String>> {
    let Ok(reference) = Reference::parse(text) else {
        return Ok(Vec::new());
    };
    let found = store.find(&reference).await?;
    Ok(found.into_iter().map(|image| image.id).collect())
}

fn is_named(image: &StoredImage, text: &str) -> bool {
    let is_definition = || {
        let path = absolute(text);
        path.is_ok_and(|path| image.reference == format!("definition {}", path.display()))
    };
    let is_same = match (Reference::parse(text), Reference::parse(&image.reference)) {
        (Ok(wanted), Ok(found)) => wanted == found,
        _ => false,
    };
    is_same || image.reference == text || is_definition()
}

fn is_at(image: &StoredImage, text: &str) -> bool {
    let path = Path::new(text).canonicalize();
    path.is_ok_and(|path| image.path.canonicalize().is_ok_and(|at| at == path))
}

/// Whether its id or its digest begins so.
fn has_id(image: &StoredImage, text: &str) -> bool {
    /// Fewer digits may well be a word.
    const FEWEST: usize = 4;
    let digest = image.digest.as_deref().unwrap_or_default();
    let digits = digest.split_once(':').map_or("", |(_, digits)| digits);
    let begins = |name: &str| text.len() >= FEWEST && name.starts_with(text);
    begins(&image.id) || begins(digest) || begins(digits)
}

fn is_digest(text: &str) -> bool {
    text.starts_with("sha256:") || text.starts_with("sha512:")
}

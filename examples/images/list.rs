//! `images list`

use std::io::{Write, stdout};

use apptainer::image::{Form, Store, StoredImage};

use crate::Result;
use crate::units;

const HEAD: [&str; 8] = [
    "ID",
    "REFERENCE",
    "DIGEST",
    "PLATFORM",
    "FORM",
    "SIZE",
    "LAST USED",
    "STATE",
];

pub(crate) async fn run(store: &Store) -> Result<()> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(store.list().await?.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).filter_map(width).collect();
    let mut table = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        table += cells.join("  ").trim_end();
        table.push('\n');
    }
    stdout().write_all(table.as_bytes())?;
    Ok(())
}

fn row(image: &StoredImage) -> [String; 8] {
    let digest = image.digest.as_deref().unwrap_or("-");
    let digits = digest.split_once(':').map_or(digest, |(_, digits)| digits);
    [
        short(&image.id).to_owned(),
        image.reference.clone(),
        short(digits).to_owned(),
        image.platform.to_string(),
        form(image.form).to_owned(),
        units::bytes(image.size),
        units::ago(image.last_used),
        state(image),
    ]
}

pub(crate) fn short(digits: &str) -> &str {
    digits.get(..12).unwrap_or(digits)
}

pub(crate) fn form(form: Form) -> &'static str {
    match form {
        Form::Sif => "SIF",
        Form::Sandbox => "sandbox",
        _ => "other",
    }
}

/// What keeps it where it is.
pub(crate) fn state(image: &StoredImage) -> String {
    let states = [
        (image.is_pinned, "pinned"),
        (image.is_in_use, "in use"),
        (image.is_shared, "shared"),
    ];
    let states: Vec<_> = states
        .into_iter()
        .filter_map(|(is_so, state)| is_so.then_some(state))
        .collect();
    states.join(", ")
}

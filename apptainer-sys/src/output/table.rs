//! Tables that are laid out for people.

/// Where the columns of a table begin, in characters.
#[derive(Debug)]
pub(super) struct Columns {
    starts: Vec<usize>,
}

impl Columns {
    /// Those that a line of headings stands over. Columns are two blanks apart, or
    /// more.
    pub(super) fn below(headings: &str) -> Self {
        let mut starts = Vec::new();
        let mut blanks = 2;
        for (place, character) in headings.chars().enumerate() {
            if character == ' ' {
                blanks += 1;
                continue;
            }
            if blanks >= 2 {
                starts.push(place);
            }
            blanks = 0;
        }
        Self { starts }
    }

    /// What a row has in each column; empty where the row ends early.
    pub(super) fn cells(&self, row: &str) -> Vec<String> {
        let characters: Vec<char> = row.chars().collect();
        let ends = self.starts.iter().skip(1).copied().chain([usize::MAX]);
        self.starts
            .iter()
            .zip(ends)
            .map(|(start, end)| {
                let end = end.min(characters.len());
                let cell = characters.get(*start..end.max(*start)).unwrap_or_default();
                cell.iter().collect::<String>().trim().to_owned()
            })
            .collect()
    }
}

/// The rows of the table in `text` whose headings begin with `first`.
pub(super) fn rows<'a>(text: &'a str, first: &str) -> impl Iterator<Item = Vec<String>> + 'a {
    let mut lines = text.lines().map(str::trim_end);
    let headings = lines.find(|line| line.starts_with(first));
    let columns = Columns::below(headings.unwrap_or_default());
    lines
        .take_while(|line| !line.is_empty())
        .map(move |line| columns.cells(line))
}

/// Whether a cell is ticked.
pub(super) fn is_ticked(cell: &str) -> bool {
    cell.starts_with('✓')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_stands_below_its_heading() {
        let text = "noise\n\nNAME  DATE CREATED   LAST\na     2026-11-23      ✓\nbb\n\nmore\n";
        let rows: Vec<_> = rows(text, "NAME").collect();
        assert_eq!(rows, [["a", "2026-11-23", "✓"], ["bb", "", ""]]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(headings: String, row: String) {
            let _ = Columns::below(&headings).cells(&row);
            let _ = rows(&format!("NAME {headings}\n{row}\n"), "NAME").count();
        }
    }
}

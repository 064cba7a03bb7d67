//! The table of commands in the README is what the types say.

use std::fmt::Write;

use apptainer_sys::command::{COMMANDS, Flag};
use apptainer_sys::feature::OLDEST;

const README: &str = include_str!("../README.md");
const BEGIN: &str = "<!-- commands: begin -->\n";
const END: &str = "<!-- commands: end -->\n";

/// A line a command, and what it needs that the oldest Apptainer lacks.
fn table() -> String {
    let mut table = String::from("| command | flags | newer than 1.2 |\n| --- | --- | --- |\n");
    for command in COMMANDS {
        let flags: Vec<&Flag> = command.flags.iter().copied().flatten().collect();
        let newer = flags.iter().filter_map(|flag| {
            let since = flag.since?.since();
            Some(format!("`{}` {since}", flag.name))
        });
        let command_itself = command
            .since
            .map(|feature| format!("the command {}", feature.since()));
        let newer: Vec<String> = command_itself.into_iter().chain(newer).collect();
        let name = [&["apptainer"], command.name].concat().join(" ");
        let count = flags.len();
        let newer = newer.join(", ");
        writeln!(table, "| `{name}` | {count} | {newer} |").expect("a string has room");
    }
    table
}

#[test]
fn the_table_in_the_readme_is_true() {
    assert_eq!(OLDEST.to_string(), "1.2.0");
    let begin = README.find(BEGIN).expect("it is there") + BEGIN.len();
    let end = README.find(END).expect("it is there");
    let (written, table) = (&README[begin..end], table());
    assert!(written == table, "put this between the marks:\n{table}");
}

//! Every command, and every flag of it at least once, as the words that it becomes.

mod action;
mod alone;
mod cache;
mod capability;
mod checkpoint;
mod config;
mod image;
mod information;
mod instance;
mod key;
mod keyserver;
mod oci;
mod overlay;
mod plugin;
mod registry;
mod remote;
mod sif;

use apptainer_sys::command::{Flag, GlobalOptions, Subcommand, Verbosity};
use insta::assert_snapshot;

/// The words of a command, a flag a line. Fails where one of `flags` is missing.
fn rendered(command: &impl Subcommand, flags: &[&[Flag]]) -> String {
    let argv = command.argv();
    for flag in flags.iter().copied().flatten() {
        assert!(
            argv.iter().any(|word| word == flag.name),
            "{} is not among {argv:?}",
            flag.name
        );
    }
    argv.iter().fold(String::new(), |text, word| {
        let word = word.to_str().expect("these words are text");
        let separator = match text.as_str() {
            "" => "",
            _ if word.starts_with("--") => "\n",
            _ => " ",
        };
        text + separator + word
    })
}

#[test]
fn global_options() {
    let verbosities = [
        Verbosity::Debug,
        Verbosity::Verbose,
        Verbosity::Normal,
        Verbosity::Quiet,
        Verbosity::Silent,
    ];
    let lines = verbosities.map(|verbosity| {
        let global = GlobalOptions {
            verbosity,
            no_color: true,
            config: Some("/etc/apptainer.conf".into()),
            build_config: true,
        };
        global.argv().join(" ".as_ref()).into_string().unwrap()
    });
    assert_snapshot!(lines.join("\n"), @r"
        --debug --nocolor --config /etc/apptainer.conf --build-config
        --verbose --nocolor --config /etc/apptainer.conf --build-config
        --nocolor --config /etc/apptainer.conf --build-config
        --quiet --nocolor --config /etc/apptainer.conf --build-config
        --silent --nocolor --config /etc/apptainer.conf --build-config
    ");
}

//! That what is given arrives, as a shell sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use proptest::prelude::*;

use super::super::section::{sections, stages};
use super::super::template;
use super::{Definition, rendered};

/// The sections, as Apptainer reads them, of a text of one stage.
fn read_back(text: &str) -> BTreeMap<String, String> {
    let (_, found) = stages(text);
    let [stage] = found[..] else {
        panic!("{} stages in {text}", found.len());
    };
    // Go's reader of lines drops it.
    let stage = stage.replace("\r\n", "\n");
    let mut defaults = BTreeMap::new();
    for section in sections(&stage).1 {
        if section.name == "arguments" {
            defaults.extend(template::defaults(section.body));
        }
    }
    let arguments = BTreeMap::new();
    let stage = template::fill(&stage, &arguments, &defaults, &mut BTreeSet::new()).unwrap();
    let mut bodies = BTreeMap::new();
    for section in sections(&stage).1 {
        section.check().unwrap();
        *bodies.entry(section.name).or_default() += section.body;
    }
    bodies
}

/// What a script prints.
fn run(script: &str) -> Vec<u8> {
    let output = Command::new("/bin/sh").arg("-c").arg(script).output();
    output.unwrap().stdout
}

/// Text of the characters that mean something to somebody on the way.
fn strange() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("%"),
        Just("'"),
        Just("\""),
        Just("\\"),
        Just("{{ a }}"),
        Just("{{"),
        Just("}}"),
        Just("#"),
        Just("Bootstrap: x"),
        Just(" "),
        Just("$A"),
        Just("`"),
        Just("!"),
        Just("%post"),
        Just("\u{a0}"),
        Just("a"),
    ];
    prop_oneof![
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat()),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn environment_values_arrive(values in prop::collection::vec(strange(), 1..4)) {
        let mut definition = Definition::from_image("docker://debian");
        let mut script = String::new();
        let mut expected = Vec::new();
        for (index, value) in values.iter().enumerate() {
            definition = definition.environment(format!("V{index}"), value);
            script += &["printf '%s\\0' \"$V", &index.to_string(), "\"\n"].concat();
            expected.extend_from_slice(value.as_bytes());
            expected.push(0);
        }
        let sections = read_back(&rendered(&definition).unwrap());
        let printed = run(&format!("{}\n{script}", sections["environment"]));
        prop_assert_eq!(printed, expected);
    }

    #[test]
    fn scripts_arrive(text in strange()) {
        // What a shell gets to read is what was written. Dash 0.5.12 loses a byte above 127 where a
        // line begins as the end does and goes on with it: so none does.
        let text = text.replace('E', "");
        let script = format!("cat <<'END'\n{text}\nEND\n");
        let definition = Definition::from_image("docker://debian").post(&script);
        let sections = read_back(&rendered(&definition).unwrap());
        prop_assert_eq!(run(&sections["post"]), format!("{text}\n").into_bytes());
    }

    #[test]
    fn labels_arrive(value in strange()) {
        let definition = Definition::from_image("docker://debian").label("name", &value);
        if let Ok(text) = rendered(&definition) {
            let labels = &read_back(&text)["labels"];
            prop_assert_eq!(labels.trim().strip_prefix("name").unwrap().trim(), value);
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "(Bootstrap: [a-z]{1,3}\n|From: a\n|%files\n|%post\n|[ -~\n]{0,9}){0,9}") {
        // Only read: a shell is asked to expand what is copied.
        let _ = Definition::from_text(text).recipe();
    }
}

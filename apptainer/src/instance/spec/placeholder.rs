//! `{port:NAME}` in texts.

const START: &str = "{port:";

/// The names of the ports that a text asks for.
pub(super) fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(START)
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}

/// The text with the numbers of ports, where they are known.
pub(super) fn filled(text: &str, ports: &[(String, u16)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(START) {
        filled.push_str(before);
        let port = after.split_once('}').and_then(|(name, behind)| {
            let (_, number) = ports.iter().find(|(known, _)| known == name)?;
            Some((number, behind))
        });
        if let Some((number, behind)) = port {
            filled.push_str(&number.to_string());
            rest = behind;
        } else {
            filled.push_str(START);
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ports_are_filled_in_and_nothing_else() {
        let ports = [("http".to_owned(), 8080), ("x".to_owned(), 1)];
        for (text, expected) in [
            ("", ""),
            ("--port={port:http}", "--port=8080"),
            ("{port:http}{port:x}:{port:http}", "80801:8080"),
            ("{port:other} {port:x}", "{port:other} 1"),
            ("{port:{port:x}}", "{port:1}"),
            ("{port:http", "{port:http"),
            ("{http} {port}", "{http} {port}"),
        ] {
            assert_eq!(filled(text, &ports), expected);
        }
    }

    #[test]
    fn the_names_of_ports_are_found() {
        let found: Vec<_> = names("{port:a}{port:b c}x{port:").collect();
        assert_eq!(found, ["a", "b c"]);
    }
}

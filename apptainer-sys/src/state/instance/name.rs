//! What an instance may be called.

/// Whether Apptainer takes `name` for an instance: letters, digits, dots,
/// underscores and dashes. As a file name it also has a longest length.
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    // 255 bytes for a file name, less the `.json` behind it.
    (1..=250).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && name != "."
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_apptainer_does() {
        for name in ["a", "web-1.2_3", "0"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", "a/b", "a b", "ä", ".", "..", "-a", "a\n"] {
            assert!(!is_valid_name(name), "{name}");
        }
        assert!(!is_valid_name(&"a".repeat(251)));
    }
}

//! Bytes that come in pieces, as text.

/// Takes what is whole off the front as text, and leaves the beginning of a character that is not
/// finished. What is no UTF-8 is replaced.
pub(super) fn take_text(bytes: &mut Vec<u8>) -> String {
    let rest = bytes.split_off(bytes.len() - unfinished(bytes));
    let whole = std::mem::replace(bytes, rest);
    String::from_utf8(whole)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::take_text;

    #[test]
    fn no_character_is_split_wherever_it_is_cut() {
        let text = "aé€😀z";
        for cut in 0..=text.len() {
            let mut bytes = text.as_bytes()[..cut].to_vec();
            let mut all = take_text(&mut bytes);
            assert!(!all.contains('\u{fffd}'), "{all:?} at {cut}");
            bytes.extend(&text.as_bytes()[cut..]);
            all.push_str(&take_text(&mut bytes));
            assert_eq!((all.as_str(), bytes.len()), (text, 0), "at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_replaced() {
        let mut bytes = b"a\xff\x80\x80\x80\x80b".to_vec();
        assert!(take_text(&mut bytes).starts_with("a\u{fffd}"));
        assert!(bytes.is_empty());
        let mut bytes = vec![0x80; 9];
        take_text(&mut bytes);
        assert!(bytes.is_empty());
    }
}

//! Bytes in JSON: text where they are, and beside it what is exact where they are not.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// As text, with what is no UTF-8 replaced.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// In Base64, unless the text says it all.
pub(super) fn exact(bytes: &[u8]) -> Option<String> {
    let is_text = std::str::from_utf8(bytes).is_ok();
    (!is_text).then(|| STANDARD.encode(bytes))
}

/// What they were.
pub(super) fn bytes(shown: String, exact: Option<String>) -> Result<Vec<u8>, String> {
    match exact {
        None => Ok(shown.into_bytes()),
        Some(exact) => STANDARD.decode(exact).map_err(|error| error.to_string()),
    }
}

//! Fields of headers and descriptors.

use super::SifError;

/// A little-endian number at a place that the caller knows is there.
pub(super) fn int64(bytes: &[u8], at: usize) -> i64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    i64::from_le_bytes(field)
}

/// The same of 32 bits.
pub(super) fn int32(bytes: &[u8], at: usize) -> i32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    i32::from_le_bytes(field)
}

/// A length or place, which the format keeps as a signed number.
pub(super) fn length(bytes: &[u8], at: usize, what: &str) -> Result<u64, SifError> {
    u64::try_from(int64(bytes, at)).map_err(|_| SifError::Damaged { what: what.into() })
}

/// Text that ends at the first NUL, or at the end of its field.
pub(super) fn text(field: &[u8]) -> String {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

//! Which key.

use std::fmt;
use std::str::FromStr;

/// The fingerprint of an OpenPGP key, as `apptainer key list` shows it.
///
/// ```
/// use apptainer::image::Fingerprint;
///
/// let fingerprint: Fingerprint = "9882 718a 8a94 8d8e 9f7e  1347 bd3f 0253 de1a b7e2".parse()?;
/// assert_eq!(fingerprint.to_string(), "9882718A8A948D8E9F7E1347BD3F0253DE1AB7E2");
/// # Ok::<(), apptainer::image::FingerprintError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; Self::LENGTH]);

/// The text is not a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read the fingerprint {text:?}: it is not 40 hexadecimal digits; take it from `apptainer key list`"
)]
#[non_exhaustive]
pub struct FingerprintError {
    /// The text.
    pub text: String,
}

impl Fingerprint {
    /// Its length, in bytes.
    const LENGTH: usize = 20;

    /// That in the descriptor of a signature, where one stands.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// Reads 40 hexadecimal digits, in either case and with spaces between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || FingerprintError {
            text: text.to_owned(),
        };
        let digits = text.chars().filter(|letter| !letter.is_whitespace());
        let digits: Option<Vec<u32>> = digits.map(|digit| digit.to_digit(16)).collect();
        let digits = digits.ok_or_else(error)?;
        let bytes = digits.chunks(2).map(|pair| match pair {
            [high, low] => u8::try_from(high << 4 | low).ok(),
            _ => None,
        });
        let bytes: Option<Vec<u8>> = bytes.collect();
        bytes
            .and_then(|bytes| Self::from_bytes(&bytes))
            .ok_or_else(error)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "9882718A8A948D8E9F7E1347BD3F0253DE1AB7E2";

    #[test]
    fn case_and_spaces_do_not_matter() {
        let plain: Fingerprint = DIGITS.parse().unwrap();
        let spaced = "9882 718a 8a94 8d8e 9f7e  1347 bd3f 0253 de1a b7e2\n";
        assert_eq!(spaced.parse(), Ok(plain));
        assert_eq!(plain.to_string(), DIGITS);
    }

    #[test]
    fn what_is_not_forty_digits_is_refused() {
        let short_id = &DIGITS[24..];
        let odd = &DIGITS[1..];
        let long = format!("{DIGITS}00");
        let signed = format!("+{odd}");
        let prefixed = format!("0x{}", &DIGITS[2..]);
        for text in ["", short_id, odd, &long, &signed, &prefixed] {
            let error = text.parse::<Fingerprint>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }
}

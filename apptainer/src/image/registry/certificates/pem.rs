//! What a PEM file holds, as far as one must know to say that a file is the wrong one.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// Whether there is a whole section whose label `is_wanted`, and every such one is base64.
pub(super) fn has(bytes: &[u8], is_wanted: fn(&str) -> bool) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim);
    let mut has_any = false;
    while let Some(line) = lines.next() {
        let Some(label) = label(line, BEGIN).filter(|label| is_wanted(label)) else {
            continue;
        };
        let mut body = String::new();
        let is_ended = lines
            .by_ref()
            .any(|line| label_or_body(line, &mut body) == Some(label));
        if !is_ended || body.is_empty() || BASE64_STANDARD.decode(&body).is_err() {
            return false;
        }
        has_any = true;
    }
    has_any
}

pub(super) fn is_certificate(label: &str) -> bool {
    label == "CERTIFICATE"
}

/// Of any kind that can be used without a passphrase.
pub(super) fn is_key(label: &str) -> bool {
    matches!(label, "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY")
}

fn label<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.strip_prefix(mark)?.strip_suffix(DASHES)
}

/// The label of the section that ends here; what is no end is added to the body.
fn label_or_body<'a>(line: &'a str, body: &mut String) -> Option<&'a str> {
    let ended = label(line, END);
    if ended.is_none() {
        body.push_str(line);
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str =
        "-----BEGIN CERTIFICATE-----\nMIIB\nAA==\n-----END CERTIFICATE-----\n";

    fn has_certificate(text: &str) -> bool {
        has(text.as_bytes(), is_certificate)
    }

    #[test]
    fn sections_are_found_among_others() {
        assert!(has_certificate(CERTIFICATE));
        assert!(has_certificate(&format!(
            "subject=CN\n{CERTIFICATE}{CERTIFICATE}"
        )));
        assert!(has_certificate(&CERTIFICATE.replace('\n', "\r\n")));
        assert!(!has(CERTIFICATE.as_bytes(), is_key));
    }

    #[test]
    fn what_is_not_whole_does_not_count() {
        assert!(!has_certificate(""));
        assert!(!has(b"\x30\x82\x01\x0a\xff", is_certificate));
        assert!(!has_certificate(&CERTIFICATE.replace("MIIB", "M*IB")));
        assert!(!has_certificate(
            CERTIFICATE.split("-----END").next().unwrap()
        ));
        let cut = CERTIFICATE.replace("AA==", "");
        assert!(has_certificate(&cut));
        let second = CERTIFICATE.replace("END CERTIFICATE", "END OTHER");
        assert!(!has_certificate(&format!("{CERTIFICATE}{second}")));
    }

    #[test]
    fn a_key_with_a_passphrase_is_none() {
        let key = |label| CERTIFICATE.replace("CERTIFICATE", label);
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"] {
            assert!(has(key(label).as_bytes(), is_key), "{label}");
        }
        assert!(!has(key("ENCRYPTED PRIVATE KEY").as_bytes(), is_key));
        let headers = "RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n";
        let encrypted = key("RSA PRIVATE KEY").replacen("RSA PRIVATE KEY-----\n", headers, 1);
        assert!(!has(encrypted.as_bytes(), is_key));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = has(&bytes, is_certificate);
        }
    }
}

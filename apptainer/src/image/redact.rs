//! URLs without what lets somebody in.

/// A URL as it may be shown and kept: without the user and the password in it, and without the
/// values of its query, by which some let in whoever has them.
pub(crate) fn redacted(text: &str) -> String {
    const HIDDEN: &str = "***";
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (rest, fragment) = split_before(rest, &['#']);
    let (rest, query) = split_before(rest, &['?']);
    let (authority, path) = split_before(rest, &['/']);
    let host = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{HIDDEN}@{host}"),
        None => authority.to_owned(),
    };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) => format!("{name}={HIDDEN}"),
        None => HIDDEN.to_owned(),
    };
    let query = match query.strip_prefix('?') {
        None | Some("") => query.to_owned(),
        Some(query) => {
            let pairs: Vec<_> = query.split('&').map(hide).collect();
            format!("?{}", pairs.join("&"))
        }
    };
    format!("{scheme}://{host}{path}{query}{fragment}")
}

fn split_before<'a>(text: &'a str, letters: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(letters).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_lets_in_is_shown() {
        let table = [
            ("https://a.b/c.sif", "https://a.b/c.sif"),
            ("https://user:pw@a.b:1/c@d", "https://***@a.b:1/c@d"),
            ("https://user:p@w@a.b", "https://***@a.b"),
            (
                "https://a.b/c?sig=x=y&t&e=#f",
                "https://a.b/c?sig=***&***&e=***#f",
            ),
            ("https://a.b?u@v", "https://a.b?***"),
            ("https://a.b/?", "https://a.b/?"),
            ("/a/b?c=d", "/a/b?c=d"),
        ];
        for (text, shown) in table {
            assert_eq!(redacted(text), shown);
            assert_eq!(redacted(shown), shown);
        }
    }
}

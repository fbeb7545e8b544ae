//! Headers whose names were changed on the way, as CGI and proxies do.

use std::ops::ControlFlow;

use http::{HeaderMap, HeaderName};

use super::Edits;
use crate::cause::{Cause, Code};

/// Visits the headers with their names restored.
pub(super) fn each(edits: &mut Edits<'_>) -> ControlFlow<()> {
    let renamed = renamed(edits.headers, &edits.read, Likeness::Loose);
    let [(name, alias), ..] = renamed.as_slice() else {
        return ControlFlow::Continue(());
    };
    let mut headers = edits.headers.clone();
    for (name, alias) in &renamed {
        for value in edits.headers.get_all(*alias) {
            headers.append(*name, value.clone());
        }
        headers.remove(*alias);
    }
    let cause = cause(name, alias);
    edits.pass(headers, 1, cause)
}

/// Returns the cause of the header `name` that arrived as `alias`.
pub(super) fn cause(name: &HeaderName, alias: &HeaderName) -> Cause {
    let summary = format!("the header `{name}` is missing: it arrived with the name `{alias}`");
    Cause::new(Code::HeaderMissing, summary)
        .with_fix("forward the header with the name that the provider uses")
}

/// How much two names have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Likeness {
    /// The names differ in separators and in the prefixes that proxies add.
    Strict,
    /// One name ends with the other one.
    Loose,
}

/// Returns the names in `read` that `headers` lacks, each with a header that may be it.
pub(super) fn renamed<'h>(
    headers: &'h HeaderMap,
    read: &[&'h HeaderName],
    likeness: Likeness,
) -> Vec<(&'h HeaderName, &'h HeaderName)> {
    let mut found: Vec<(&HeaderName, &HeaderName)> = Vec::new();
    for name in read.iter().filter(|name| !headers.contains_key(**name)) {
        let is_free = |alias: &&HeaderName| {
            !read.contains(alias) && found.iter().all(|(_, taken)| taken != alias)
        };
        let mut aliases = headers.keys().filter(is_free);
        if let Some(alias) = aliases.find(|alias| is_like(name, alias, likeness)) {
            found.push((name, alias));
        }
    }
    found
}

fn is_like(name: &HeaderName, alias: &HeaderName, likeness: Likeness) -> bool {
    /// Shorter ends are equal by chance.
    const SHORTEST: usize = 8;
    let (name, alias) = (letters(name.as_str()), letters(alias.as_str()));
    let bare = |text: &str| text.strip_prefix('x').unwrap_or(text).to_owned();
    let (bare_name, bare_alias) = (bare(&name), bare(&alias));
    if bare_name == bare_alias {
        return true;
    }
    const PREFIXES: [&str; 8] = [
        "http",
        "forwarded",
        "original",
        "amznremapped",
        "envoy",
        "proxy",
        "custom",
        "header",
    ];
    let is_prefixed = PREFIXES.iter().any(|prefix| {
        let rest = bare_alias.strip_prefix(prefix);
        rest.is_some_and(|rest| rest == name || rest == bare_name)
    });
    let ends_alike = || {
        (bare_name.len() >= SHORTEST && bare_alias.ends_with(&bare_name))
            || (bare_alias.len() >= SHORTEST && bare_name.ends_with(&bare_alias))
    };
    is_prefixed || (likeness == Likeness::Loose && ends_alike())
}

/// Returns the letters and digits of a name. Names of headers are in lower case.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_renamed_header_is_found_by_its_letters() {
        for (name, alias, strict, loose) in [
            (
                "x-hub-signature-256",
                "http_x_hub_signature_256",
                true,
                true,
            ),
            ("x-hub-signature-256", "x_hub_signature_256", true, true),
            ("x-hub-signature-256", "hub-signature-256", true, true),
            (
                "x-hub-signature-256",
                "x-forwarded-x-hub-signature-256",
                true,
                true,
            ),
            (
                "x-hub-signature-256",
                "x-original-hub-signature-256",
                true,
                true,
            ),
            (
                "stripe-signature",
                "x-amzn-remapped-stripe-signature",
                true,
                true,
            ),
            ("stripe-signature", "x-stripe-signature", true, true),
            ("stripe-signature", "vendor-stripe-signature", false, true),
            ("x-shopify-hmac-sha256", "hmac-sha256", false, true),
            ("x-hub-signature-256", "x-hub-signature", false, false),
            ("webhook-signature", "x-signature", false, true),
            ("webhook-signature", "x-sign", false, false),
        ] {
            let name = HeaderName::from_static(name);
            let alias = HeaderName::from_static(alias);
            let mut headers = HeaderMap::new();
            headers.insert(alias.clone(), HeaderValue::from_static("v"));
            let is_found = |likeness| !renamed(&headers, &[&name], likeness).is_empty();
            assert_eq!(is_found(Likeness::Strict), strict, "{alias}");
            assert_eq!(is_found(Likeness::Loose), loose, "{alias}");
        }
    }
}

//! Fields that belong to one connection and are not forwarded (RFC 9110 §7.6.1).

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName};

use crate::limits::MAX_FIELDS;

/// The hop-by-hop fields of one head: the standard fields, and the fields that `Connection`
/// names.
#[derive(Debug)]
pub struct HopByHop<'h> {
    /// Names that `Connection` lists, without `Keep-Alive` and `Content-Length`.
    named: Vec<&'h [u8]>,
}

impl<'h> HopByHop<'h> {
    /// Reads the `Connection` fields of a head.
    pub fn new(headers: &'h HeaderMap) -> Self {
        let named = headers.get_all(CONNECTION).iter();
        let named = named.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Self {
            named: named
                .map(<[u8]>::trim_ascii)
                // `Keep-Alive` is always hop-by-hop, and most heads name it.
                .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"keep-alive"))
                // The sender must not remove the length of the body.
                .filter(|name| !name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
                .take(MAX_FIELDS)
                .collect(),
        }
    }

    /// Returns whether the field stays on this connection.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.contains_unless(name, |_| false)
    }

    /// Returns whether the field stays on this connection. A field for which `is_protected`
    /// returns true stays only if it is always hop-by-hop: `Connection` cannot remove it
    /// (CVE-2024-45410).
    pub fn contains_unless(
        &self,
        name: &HeaderName,
        is_protected: impl Fn(&HeaderName) -> bool,
    ) -> bool {
        let is_named = |named: &&[u8]| named.eq_ignore_ascii_case(name.as_str().as_bytes());
        matches!(
            name.as_str(),
            "connection"
                | "keep-alive"
                | "proxy-authenticate"
                | "proxy-authorization"
                | "proxy-connection"
                | "te"
                | "trailer"
                | "transfer-encoding"
                | "upgrade"
        ) || (self.named.iter().any(is_named) && !is_protected(name))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn fields_that_connection_names_are_hop_by_hop_unless_they_are_protected() {
        let mut headers = HeaderMap::new();
        let names = "close, X-Hop ,content-length,,Keep-Alive";
        headers.insert(CONNECTION, HeaderValue::from_static(names));
        for name in ["x-hop", "content-length", "x-end", "te", "keep-alive"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let hop_by_hop = HopByHop::new(&headers);
        let stays = headers.keys().filter(|name| hop_by_hop.contains(name));
        let stays: Vec<_> = stays.map(HeaderName::as_str).collect();
        assert_eq!(stays, ["connection", "x-hop", "te", "keep-alive"]);
        let is_protected = |name: &HeaderName| matches!(name.as_str(), "x-hop" | "te");
        let stays = headers
            .keys()
            .filter(|name| hop_by_hop.contains_unless(name, is_protected));
        let stays: Vec<_> = stays.map(HeaderName::as_str).collect();
        assert_eq!(stays, ["connection", "te", "keep-alive"]);
    }
}

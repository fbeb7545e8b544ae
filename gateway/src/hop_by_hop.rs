//! Fields that belong to one connection, and stay on it (RFC 9110 §7.6.1); and the length,
//! which is said anew.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http1::MAX_FIELDS;

/// Which fields of a head do.
#[derive(Debug)]
pub(crate) struct HopByHop<'h> {
    /// Those that `Connection` names.
    named: Vec<&'h [u8]>,
}

impl<'h> HopByHop<'h> {
    pub(crate) fn of(headers: &'h HeaderMap) -> Self {
        let named = headers.get_all(CONNECTION).iter();
        let named = named.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        Self {
            named: named
                .map(<[u8]>::trim_ascii)
                // What always does need not be named, and mostly is.
                .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(b"keep-alive"))
                // The length of the body is not the sender's to take away.
                .filter(|name| !name.eq_ignore_ascii_case(CONTENT_LENGTH.as_str().as_bytes()))
                .take(MAX_FIELDS)
                .collect(),
        }
    }

    pub(crate) fn contains(&self, name: &HeaderName) -> bool {
        self.contains_unless(name, |_| false)
    }

    /// Likewise, but for what is the recipient's whatever `Connection` says: only what always
    /// belongs to one connection is taken from that.
    pub(crate) fn contains_unless(
        &self,
        name: &HeaderName,
        is_recipients: impl Fn(&HeaderName) -> bool,
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
        ) || (self.named.iter().any(is_named) && !is_recipients(name))
    }
}

/// The length of a body, of which a head may speak several times if it says the same, and
/// which does not count in one that is coded for the way (RFC 9112 §6.3).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let is_coded = headers.contains_key(TRANSFER_ENCODING);
    length_of(headers.get(CONTENT_LENGTH)?).filter(|_| !is_coded)
}

/// One number, or several that are the same (RFC 9110 §8.6).
pub(crate) fn length_of(value: &HeaderValue) -> Option<u64> {
    let mut numbers = value.to_str().ok()?.split(',').map(str::trim);
    let first = numbers.next()?;
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && numbers.all(|other| other == first)).then(|| first.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_stays_on_the_connection() {
        let mut headers = HeaderMap::new();
        let names = "close, X-Hop ,content-length,,Keep-Alive";
        headers.insert(CONNECTION, HeaderValue::from_static(names));
        for name in ["x-hop", "content-length", "x-end", "te", "keep-alive"] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let hop_by_hop = HopByHop::of(&headers);
        let stays = headers.keys().filter(|name| hop_by_hop.contains(name));
        let stays: Vec<_> = stays.map(HeaderName::as_str).collect();
        assert_eq!(stays, ["connection", "x-hop", "te", "keep-alive"]);
        let is_recipients = |name: &HeaderName| matches!(name.as_str(), "x-hop" | "te");
        let stays = headers
            .keys()
            .filter(|name| hop_by_hop.contains_unless(name, is_recipients));
        let stays: Vec<_> = stays.map(HeaderName::as_str).collect();
        assert_eq!(stays, ["connection", "te", "keep-alive"]);
    }
}

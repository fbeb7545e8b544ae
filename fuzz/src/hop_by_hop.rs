//! Fuzz target: the field `Connection`, with which a sender can name fields to remove.

use hookgate_http1::HopByHop;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes each line of `data` as a value of `Connection`.
///
/// A field stays on the connection if it is a standard one, or if one of the first 100 names of
/// the lists is its name. A sender removes neither the length of the body nor a protected field.
pub fn hop_by_hop(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(100) {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        headers.append("connection", value);
    }
    let values = headers.get_all("connection").iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names: Vec<_> = names
        .map(|name| name.trim_ascii().to_ascii_lowercase())
        .filter(|name| !matches!(&name[..], b"" | b"keep-alive" | b"content-length"))
        .take(100)
        .collect();
    let hop_by_hop = HopByHop::new(&headers);
    let fixed = [
        "content-length",
        "content-type",
        "x-signature",
        "host",
        "te",
        "upgrade",
    ];
    let fixed = fixed.map(|name| name.as_bytes().to_vec());
    for name in names.iter().chain(&fixed) {
        let Ok(name) = HeaderName::from_bytes(name) else {
            continue;
        };
        let is_standard = matches!(
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
        );
        let is_named = names
            .iter()
            .any(|listed| listed == name.as_str().as_bytes());
        assert_eq!(
            hop_by_hop.contains(&name),
            is_standard || is_named,
            "{name}"
        );
        assert_eq!(
            hop_by_hop.contains_unless(&name, |_| true),
            is_standard,
            "{name}"
        );
    }
}

//! The scheme and authority that the operator configures, and their normal form.

use http::Uri;
use http::uri::Authority;

/// The scheme and authority of the URL that senders call.
///
/// The operator configures it. Behind a TLS terminator the gateway cannot know the scheme, and it must
/// not trust the sender for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(super) scheme: &'static str,
    pub(super) authority: String,
}

impl Address {
    /// Reads the address in `uri`. Returns `None` if `uri` is not `http` or `https` with a host, or
    /// has a path or a query: those come from the request.
    pub(crate) fn new(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "https" => "https",
            "http" => "http",
            _ => return None,
        };
        let rest = (uri.path(), uri.query());
        let authority = normalize(uri.authority()?, Some(scheme))?;
        (rest == ("/", None)).then_some(Self { scheme, authority })
    }
}

/// Returns `authority` in lower case without the default port (RFC 9110 §4.2.3).
///
/// Without a `scheme`, the default ports of both schemes are removed. Returns `None` if `authority` is
/// not a host with an optional port.
pub(super) fn normalize(authority: &Authority, scheme: Option<&str>) -> Option<String> {
    let port = authority.as_str().strip_prefix(authority.host())?;
    if authority.host().is_empty() {
        return None;
    }
    let mut normal = authority.host().to_ascii_lowercase();
    match (port, scheme) {
        ("" | ":", _) | (":80", Some("http") | None) | (":443", Some("https") | None) => {}
        _ => {
            let digits = port.strip_prefix(':')?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            normal.push_str(port);
        }
    }
    Some(normal)
}

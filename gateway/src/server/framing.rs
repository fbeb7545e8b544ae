//! Refuses heads that two systems could read in two ways, before anything acts
//! on them. What is forwarded is framed anew, so nothing of this reaches an
//! upstream; but what reads a request differently in front of this gateway
//! would lose track of where the next one starts.

use hookgate_gate::Reason;
use http::Version;
use http::header::CONTENT_LENGTH;
use http::uri::Authority;
use pingora_http::RequestHeader;

/// Most bytes of a head.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Most fields of a head.
const MAX_FIELDS: usize = 100;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLen {
    Known(u64),
    /// In chunks, or in frames that do not say how many come.
    Unknown,
}

/// Why the parser has refused a head. It allows more than is allowed here, so
/// what it finds too large is.
pub(super) fn blame(error: &pingora_core::Error) -> Reason {
    let text = error.to_string();
    if text.contains("larger than") || text.contains("too many headers") {
        Reason::HeadTooLarge
    } else {
        Reason::RequestMalformed
    }
}

/// Checks a head of HTTP/1: `raw` as it came, `request` as it was parsed.
pub(super) fn check(raw: &[u8], request: &RequestHeader) -> Result<BodyLen, Reason> {
    if raw.len() > MAX_HEAD || request.headers.len() > MAX_FIELDS {
        return Err(Reason::HeadTooLarge);
    }
    if !matches!(request.version, Version::HTTP_10 | Version::HTTP_11) {
        return Err(Reason::RequestMalformed);
    }
    let fields = fields(raw)?;
    // RFC 9112 §6.1 and §6.3. The parser has dropped `Content-Length` where both
    // are there, so this looks at the raw head.
    let mut lengths = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"content-length"));
    let mut codings = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"transfer-encoding"));
    let body = match (
        lengths.next(),
        lengths.next(),
        codings.next(),
        codings.next(),
    ) {
        (None, None, None, None) => BodyLen::Known(0),
        (Some((_, length)), None, None, None) => {
            BodyLen::Known(length_of(length).ok_or(Reason::FramingAmbiguous)?)
        }
        (None, None, Some((_, coding)), None)
            if coding.eq_ignore_ascii_case(b"chunked") && request.version == Version::HTTP_11 =>
        {
            BodyLen::Unknown
        }
        _ => return Err(Reason::FramingAmbiguous),
    };
    let mut hosts = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    // RFC 9112 §3.2.
    match (hosts.next(), hosts.next()) {
        (Some((_, host)), None) if is_host(host) => {}
        (None, None) if request.version == Version::HTTP_10 => {}
        _ => return Err(Reason::RequestMalformed),
    }
    // There is nothing to upgrade to, and bytes after the head would not be HTTP.
    if request.headers.contains_key(http::header::UPGRADE) {
        return Err(Reason::RequestMalformed);
    }
    Ok(body)
}

/// Checks a head of HTTP/2, where frames say how long a body is and the library has
/// seen to it that they keep to the length that is declared (RFC 9113 §8.1.1).
pub(super) fn check_http2(request: &RequestHeader, bodiless: bool) -> Result<BodyLen, Reason> {
    if request.headers.len() > MAX_FIELDS {
        return Err(Reason::HeadTooLarge);
    }
    let host = request.headers.get(http::header::HOST);
    if !host.is_some_and(|host| is_host(host.as_bytes())) {
        return Err(Reason::RequestMalformed);
    }
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, None) if bodiless => Ok(BodyLen::Known(0)),
        (None, None) => Ok(BodyLen::Unknown),
        (Some(length), None) => length_of(length.as_bytes())
            .map(BodyLen::Known)
            .ok_or(Reason::FramingAmbiguous),
        _ => Err(Reason::FramingAmbiguous),
    }
}

type Field<'h> = (&'h [u8], &'h [u8]);

/// The fields of a head that is written strictly: lines end with CR LF, no line
/// continues another (obs-fold), nothing stands between a name and its colon.
fn fields(raw: &[u8]) -> Result<Vec<Field<'_>>, Reason> {
    let mut fields = Vec::with_capacity(16);
    for (index, line) in raw.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r\n").ok_or(Reason::FramingAmbiguous)?;
        if line.iter().any(|byte| matches!(byte, b'\r' | 0)) {
            return Err(Reason::FramingAmbiguous);
        }
        if index == 0 || line.is_empty() {
            continue;
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .ok_or(Reason::FramingAmbiguous)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Reason::FramingAmbiguous);
        }
        fields.push((name, value.trim_ascii()));
    }
    Ok(fields)
}

/// Digits only: no sign, no list, nothing that overflows.
fn length_of(value: &[u8]) -> Option<u64> {
    let digits = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// A host and perhaps a port, nothing else.
fn is_host(value: &[u8]) -> bool {
    Authority::try_from(value).is_ok_and(|host| !host.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_head(fields: &str, version: Version) -> Result<BodyLen, Reason> {
        let mut request = RequestHeader::build("POST", b"/", None).unwrap();
        request.set_version(version);
        for line in fields.lines() {
            if let Some((name, value)) = line.split_once(':') {
                let _ = request.append_header(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        check(
            format!("POST / {version:?}\r\n{fields}\r\n").as_bytes(),
            &request,
        )
    }

    #[test]
    fn unambiguous_heads_pass() {
        for (fields, expected) in [
            ("Host: a\r\nContent-Length: 5\r\n", BodyLen::Known(5)),
            (
                "Host: a:80\r\nTransfer-Encoding: chunked\r\n",
                BodyLen::Unknown,
            ),
            (
                "Host: [::1]:80\r\nTransfer-Encoding: Chunked\r\n",
                BodyLen::Unknown,
            ),
            ("Host: a\r\n", BodyLen::Known(0)),
        ] {
            assert_eq!(
                check_head(fields, Version::HTTP_11),
                Ok(expected),
                "{fields}"
            );
        }
        let old = check_head("Content-Length: 5\r\n", Version::HTTP_10);
        assert_eq!(old, Ok(BodyLen::Known(5)));
    }

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: \r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length : 5\r\n",
            "Content-Length: 5\n",
            "X: a\r\n folded\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            ": nameless\r\n",
        ] {
            let head = format!("Host: a\r\n{fields}");
            assert_eq!(
                check_head(&head, Version::HTTP_11),
                Err(Reason::FramingAmbiguous),
                "{fields}"
            );
        }
        let old = check_head("Transfer-Encoding: chunked\r\n", Version::HTTP_10);
        assert_eq!(old, Err(Reason::FramingAmbiguous));
    }

    #[test]
    fn upgrades_and_unclear_hosts_are_refused() {
        for fields in [
            "",
            "Host: \r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: user@a\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host: a\r\nUpgrade: websocket\r\n",
        ] {
            let refused = check_head(fields, Version::HTTP_11);
            assert_eq!(refused, Err(Reason::RequestMalformed), "{fields}");
        }
    }

    #[test]
    fn heads_that_are_too_large_are_refused() {
        let long = format!("Host: a\r\nX: {}\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(
            check_head(&long, Version::HTTP_11),
            Err(Reason::HeadTooLarge)
        );
        let many: String = (0..=MAX_FIELDS).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(
            check_head(&many, Version::HTTP_11),
            Err(Reason::HeadTooLarge)
        );
    }
}

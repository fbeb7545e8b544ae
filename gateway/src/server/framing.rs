//! Refuses heads that two systems could read in two ways, before anything acts
//! on them. What is forwarded is framed anew, so nothing of this reaches an
//! upstream; but what reads a request differently in front of this gateway
//! would lose track of where the next one starts.

use hookgate_gate::Reason;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderValue, Version};
use pingora_http::RequestHeader;

use crate::http1::MAX_FIELDS;

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLen {
    Known(u64),
    /// In chunks, or in frames that do not say how many come.
    Unknown,
}

/// Checks a head of HTTP/1.
pub(super) fn check(request: &RequestHeader) -> Result<BodyLen, Reason> {
    let headers = &request.headers;
    let of = |name| {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        (values.next(), values.next())
    };
    // RFC 9112 §6.1 and §6.3.
    let body = match (of(CONTENT_LENGTH), of(TRANSFER_ENCODING)) {
        ((None, _), (None, _)) => BodyLen::Known(0),
        ((Some(length), None), (None, _)) => {
            BodyLen::Known(length_of(length).ok_or(Reason::FramingAmbiguous)?)
        }
        ((None, _), (Some(coding), None))
            if coding.eq_ignore_ascii_case(b"chunked") && request.version == Version::HTTP_11 =>
        {
            BodyLen::Unknown
        }
        _ => return Err(Reason::FramingAmbiguous),
    };
    // RFC 9112 §3.2.
    match of(HOST) {
        (Some(host), None) if is_host(host) => {}
        (None, _) if request.version == Version::HTTP_10 => {}
        _ => return Err(Reason::RequestMalformed),
    }
    // There is nothing to upgrade to, and bytes after the head would not be HTTP.
    if headers.contains_key(UPGRADE) {
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
    let host = request.headers.get(HOST);
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
    use std::io::Cursor;

    use super::*;
    use crate::http1::{Connection, MAX_HEAD, read_request};

    /// What a head with these fields is found to be.
    async fn check_head(fields: &str, version: Version) -> Result<BodyLen, Reason> {
        let head = format!("POST / {version:?}\r\n{fields}\r\n").into_bytes();
        let mut connection = Connection::new(Box::new(Cursor::new(head)));
        let read = read_request(&mut connection).await;
        check(&read.map_err(Reason::from)?)
    }

    #[tokio::test]
    async fn unambiguous_heads_pass() {
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
                check_head(fields, Version::HTTP_11).await,
                Ok(expected),
                "{fields}"
            );
        }
        let old = check_head("Content-Length: 5\r\n", Version::HTTP_10).await;
        assert_eq!(old, Ok(BodyLen::Known(5)));
    }

    #[tokio::test]
    async fn heads_that_can_be_read_in_two_ways_are_refused() {
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
                check_head(&head, Version::HTTP_11).await,
                Err(Reason::FramingAmbiguous),
                "{fields}"
            );
        }
        let old = check_head("Transfer-Encoding: chunked\r\n", Version::HTTP_10).await;
        assert_eq!(old, Err(Reason::FramingAmbiguous));
    }

    #[tokio::test]
    async fn upgrades_and_unclear_hosts_are_refused() {
        for fields in [
            "",
            "Host: \r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: user@a\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host: a\r\nUpgrade: websocket\r\n",
        ] {
            let refused = check_head(fields, Version::HTTP_11).await;
            assert_eq!(refused, Err(Reason::RequestMalformed), "{fields}");
        }
    }

    #[tokio::test]
    async fn heads_that_are_too_large_are_refused() {
        let long = format!("Host: a\r\nX: {}\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(
            check_head(&long, Version::HTTP_11).await,
            Err(Reason::HeadTooLarge)
        );
        let many: String = (0..=MAX_FIELDS).map(|n| format!("X-{n}: 1\r\n")).collect();
        assert_eq!(
            check_head(&many, Version::HTTP_11).await,
            Err(Reason::HeadTooLarge)
        );
    }
}

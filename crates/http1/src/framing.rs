//! Framing: where a message ends, and whether another one may follow (RFC 9112 §6 and §9).

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, request, response};

use crate::body::{Body, Strictness};
use crate::error::HeadError;

/// Length of a request body, as its head declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLen {
    /// The number of bytes.
    Known(u64),
    /// The body comes in chunks or frames without a total length.
    Unknown,
}

/// Checks the framing fields, `Host` and `Upgrade` of a request, and returns the length of
/// its body.
///
/// # Errors
///
/// Returns [`HeadError::Ambiguous`] if two parsers could find different body lengths: the
/// head has both `Content-Length` and `Transfer-Encoding`, repeats one of them, or has a
/// value outside of the strict grammar (RFC 9112 §6.1 and §6.3). Returns
/// [`HeadError::Malformed`] if `Host` is missing, repeated or invalid (RFC 9112 §3.2), or
/// if the request asks for an upgrade: the bytes after such a head would not be HTTP
/// (CVE-2026-2833).
pub fn check_request(request: &request::Parts) -> Result<BodyLen, HeadError> {
    let headers = &request.headers;
    let first_two = |name| {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        (values.next(), values.next())
    };
    let body = match (first_two(CONTENT_LENGTH), first_two(TRANSFER_ENCODING)) {
        ((None, _), (None, _)) => BodyLen::Known(0),
        ((Some(length), None), (None, _)) => {
            BodyLen::Known(parse_content_length(length).ok_or(HeadError::Ambiguous)?)
        }
        ((None, _), (Some(coding), None))
            if coding.eq_ignore_ascii_case(b"chunked") && request.version == Version::HTTP_11 =>
        {
            BodyLen::Unknown
        }
        _ => return Err(HeadError::Ambiguous),
    };
    match first_two(HOST) {
        (Some(host), None) if is_host(host) => {}
        (None, _) if request.version == Version::HTTP_10 => {}
        _ => return Err(HeadError::Malformed),
    }
    if headers.contains_key(UPGRADE) {
        return Err(HeadError::Malformed);
    }
    Ok(body)
}

/// Parses the `Content-Length` of a request: 1 to 18 digits without a sign or a list.
pub fn parse_content_length(value: &[u8]) -> Option<u64> {
    if !(1..=18).contains(&value.len()) {
        return None;
    }
    value.iter().try_fold(0, |length, byte| {
        byte.is_ascii_digit()
            .then(|| length * 10 + u64::from(byte - b'0'))
    })
}

/// Returns whether the value of `Host` is a host with an optional port and nothing else. A port is
/// a number up to 65535, or empty (RFC 9110 §4.2.3).
pub fn is_host(value: &[u8]) -> bool {
    let Ok(host) = Authority::try_from(value) else {
        return false;
    };
    let text = host.as_str();
    let port = match text.rsplit_once(':') {
        // The colons of an IPv6 address are in brackets.
        Some((_, port)) if !port.ends_with(']') => port,
        _ => "",
    };
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    !text.contains('@') && (port.is_empty() || is_port)
}

/// Framing of a response body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The body to read.
    pub body: Body,
    /// Whether the head allows another exchange on the connection. After a head that
    /// contradicts itself, the remaining bytes could be taken for the response to the next
    /// delivery.
    pub allows_reuse: bool,
}

impl ResponseFraming {
    /// Returns the framing of the response to a request with `method`, or `None` if the end
    /// of the body cannot be determined.
    pub fn of(method: &Method, response: &response::Parts) -> Option<Self> {
        let mut lengths = response.headers.get_all(CONTENT_LENGTH).iter();
        let mut codings = response.headers.get_all(TRANSFER_ENCODING).iter();
        let length = match lengths.next() {
            Some(length) => {
                if lengths.any(|other| other != length) {
                    return None;
                }
                Some(parse_repeated_length(length)?)
            }
            None => None,
        };
        let coding = codings.next();
        let is_bodiless = matches!(
            response.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if is_bodiless || method == Method::HEAD {
            let declares_body =
                is_bodiless && (coding.is_some() || length.is_some_and(|len| len > 0));
            return Some(Self {
                body: Body::Done,
                allows_reuse: !declares_body,
            });
        }
        let (body, allows_reuse) = match (coding, codings.next(), length) {
            (Some(coding), None, length) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                // HTTP/1.0 has no transfer coding: the framing is in doubt (RFC 9112 §6.1).
                let is_certain = length.is_none() && response.version != Version::HTTP_10;
                (Body::chunked(Strictness::Lenient), is_certain)
            }
            (Some(_), ..) => return None,
            (None, _, Some(length)) => (Body::Known(length), true),
            (None, _, None) => (Body::UntilClose, false),
        };
        Some(Self { body, allows_reuse })
    }
}

/// Returns the `Content-Length` of a response. It does not count beside a
/// `Transfer-Encoding` (RFC 9112 §6.3).
pub fn content_length(headers: &HeaderMap) -> Option<u64> {
    let is_coded = headers.contains_key(TRANSFER_ENCODING);
    parse_repeated_length(headers.get(CONTENT_LENGTH)?).filter(|_| !is_coded)
}

/// Parses one number, or a list that repeats the same number (RFC 9110 §8.6).
fn parse_repeated_length(value: &HeaderValue) -> Option<u64> {
    let mut numbers = value.to_str().ok()?.split(',').map(str::trim);
    let first = numbers.next()?;
    let is_number = !first.is_empty() && first.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && numbers.all(|other| other == first)).then(|| first.parse().ok())?
}

/// Returns whether the connection can carry another message after this one
/// (RFC 9112 §9.3).
pub fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let has_option = |option: &str| {
        let values = headers.get_all(CONNECTION).iter();
        let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
    };
    !has_option("close") && (version != Version::HTTP_10 || has_option("keep-alive"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::connection::{Connection, Transport};
    use crate::head::read_request;
    use crate::limits::{MAX_FIELDS, MAX_HEAD};

    /// Reads and checks a request head with these fields.
    async fn check_head(fields: &str, version: Version) -> Result<BodyLen, HeadError> {
        let head = format!("POST / {version:?}\r\n{fields}\r\n").into_bytes();
        let mut connection = Connection::new(Cursor::new(head), Transport::Plain);
        check_request(&read_request(&mut connection).await?)
    }

    #[tokio::test]
    async fn unambiguous_heads_pass() {
        for (fields, expected) in [
            ("Host: a\r\nContent-Length: 5\r\n", BodyLen::Known(5)),
            (
                "Host: a:80\r\nTransfer-Encoding: chunked\r\n",
                BodyLen::Unknown,
            ),
            ("Host: [::1]\r\n", BodyLen::Known(0)),
            ("Host: a:\r\n", BodyLen::Known(0)),
            ("Host: a:65535\r\n", BodyLen::Known(0)),
            (
                "Host: [::1]:80\r\nTransfer-Encoding: Chunked\r\n",
                BodyLen::Unknown,
            ),
            ("Host: a\r\n", BodyLen::Known(0)),
            (
                "Host: a\r\nContent-Length: 120345678901234567\r\n",
                BodyLen::Known(120_345_678_901_234_567),
            ),
        ] {
            let len = check_head(fields, Version::HTTP_11).await;
            assert_eq!(len.expect("a good head"), expected, "{fields}");
        }
        let old = check_head("Content-Length: 5\r\n", Version::HTTP_10).await;
        assert_eq!(old.expect("a good head"), BodyLen::Known(5));
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
            let checked = check_head(&head, Version::HTTP_11).await;
            assert!(matches!(checked, Err(HeadError::Ambiguous)), "{fields}");
        }
        let old = check_head("Transfer-Encoding: chunked\r\n", Version::HTTP_10).await;
        assert!(matches!(old, Err(HeadError::Ambiguous)));
    }

    #[tokio::test]
    async fn upgrades_and_invalid_hosts_are_refused() {
        for fields in [
            "",
            "Host: \r\n",
            "Host: a b\r\n",
            "Host: a/b\r\n",
            "Host: user@a\r\n",
            "Host: a:-1\r\n",
            "Host: a:99999\r\n",
            "Host: a:8o\r\n",
            "Host: [::1]:-1\r\n",
            "Host: a\r\nHost: b\r\n",
            "Host: a\r\nUpgrade: websocket\r\n",
        ] {
            let checked = check_head(fields, Version::HTTP_11).await;
            assert!(matches!(checked, Err(HeadError::Malformed)), "{fields}");
        }
    }

    #[tokio::test]
    async fn heads_that_are_too_large_are_refused() {
        let long = format!("Host: a\r\nX: {}\r\n", "x".repeat(MAX_HEAD));
        let many: String = (0..=MAX_FIELDS).map(|n| format!("X-{n}: 1\r\n")).collect();
        for fields in [long, many] {
            let checked = check_head(&fields, Version::HTTP_11).await;
            assert!(matches!(checked, Err(HeadError::TooLarge)));
        }
    }

    #[test]
    fn the_framing_of_a_response_is_unambiguous_or_prevents_reuse() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        let framing = |method: Method, status: u16, fields: &[(&'static str, &'static str)]| {
            let (mut head, ()) = http::Response::new(()).into_parts();
            head.status = StatusCode::from_u16(status).expect("a status");
            for (name, value) in fields {
                head.headers.append(*name, HeaderValue::from_static(value));
            }
            ResponseFraming::of(&method, &head).map(|framing| (framing.body, framing.allows_reuse))
        };
        for (status, fields, expected) in [
            (200, &[(LENGTH, "5")][..], Some((Body::Known(5), true))),
            (
                200,
                &[(LENGTH, "5"), (LENGTH, "5")],
                Some((Body::Known(5), true)),
            ),
            (200, &[(LENGTH, "5, 5")], Some((Body::Known(5), true))),
            (200, &[(LENGTH, "5"), (LENGTH, "6")], None),
            (200, &[(LENGTH, "5, 6")], None),
            (200, &[(LENGTH, "-5")], None),
            // `u64` would parse it as 5.
            (200, &[(LENGTH, "+5")], None),
            (200, &[(LENGTH, "")], None),
            (200, &[(LENGTH, "99999999999999999999")], None),
            (
                200,
                &[(CODING, "Chunked")],
                Some((Body::chunked(Strictness::Lenient), true)),
            ),
            (
                200,
                &[(CODING, "chunked"), (LENGTH, "5")],
                Some((Body::chunked(Strictness::Lenient), false)),
            ),
            (200, &[(CODING, "gzip, chunked")], None),
            (200, &[(CODING, "chunked"), (CODING, "chunked")], None),
            (200, &[], Some((Body::UntilClose, false))),
            (204, &[], Some((Body::Done, true))),
            (204, &[(LENGTH, "0")], Some((Body::Done, true))),
            (204, &[(LENGTH, "5")], Some((Body::Done, false))),
            (205, &[(LENGTH, "2")], Some((Body::Known(2), true))),
            (304, &[(CODING, "chunked")], Some((Body::Done, false))),
        ] {
            assert_eq!(
                framing(Method::POST, status, fields),
                expected,
                "{status} {fields:?}"
            );
        }
        let head = framing(Method::HEAD, 200, &[(LENGTH, "5")]);
        assert_eq!(head, Some((Body::Done, true)));
    }

    /// RFC 9112 §6.1.
    #[test]
    fn a_transfer_coding_in_http_1_0_prevents_reuse() {
        for (version, allows_reuse) in [(Version::HTTP_11, true), (Version::HTTP_10, false)] {
            let (mut head, ()) = http::Response::new(()).into_parts();
            head.version = version;
            let chunked = HeaderValue::from_static("chunked");
            head.headers.insert(TRANSFER_ENCODING, chunked);
            let expected = ResponseFraming {
                body: Body::chunked(Strictness::Lenient),
                allows_reuse,
            };
            assert_eq!(ResponseFraming::of(&Method::POST, &head), Some(expected));
        }
    }

    #[test]
    fn the_length_of_a_response_does_not_count_beside_a_coding() {
        let headers = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            });
            fields.collect::<HeaderMap>()
        };
        let length = ("content-length", "12");
        for (fields, expected) in [
            (&[length][..], Some(12)),
            (&[("content-length", "12, 12")], Some(12)),
            (&[("content-length", "12, 13")], None),
            (&[length, ("transfer-encoding", "chunked")], None),
            (&[], None),
        ] {
            assert_eq!(content_length(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_connection_stays_open_unless_one_side_closes_it() {
        for (version, option, expected) in [
            (Version::HTTP_11, "", true),
            (Version::HTTP_11, "keep-alive", true),
            (Version::HTTP_11, "x, Close", false),
            (Version::HTTP_10, "", false),
            (Version::HTTP_10, "Keep-Alive", true),
            (Version::HTTP_10, "keep-alive, close", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(option));
            assert_eq!(
                keeps_alive(version, &headers),
                expected,
                "{version:?} {option}"
            );
        }
    }
}

//! Refuses heads that two systems could read in two ways, before anything acts
//! on them. What is forwarded is framed anew, so nothing of this reaches an
//! upstream; but what reads a request differently in front of this gateway
//! would lose track of where the next one starts.

use hookgate_gate::Reason;
use http::Version;
use pingora_http::RequestHeader;

/// Most bytes of a head.
const MAX_HEAD: usize = 64 * 1024;
/// Most fields of a head.
const MAX_FIELDS: usize = 100;

/// Checks a head of HTTP/1: `raw` as it came, `request` as it was parsed.
pub(super) fn check(raw: &[u8], request: &RequestHeader) -> Result<(), Reason> {
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
    match (
        lengths.next(),
        lengths.next(),
        codings.next(),
        codings.next(),
    ) {
        (None, None, None, None) => {}
        (Some((_, length)), None, None, None) if is_length(length) => {}
        (None, None, Some((_, coding)), None)
            if coding.eq_ignore_ascii_case(b"chunked") && request.version == Version::HTTP_11 => {}
        _ => return Err(Reason::FramingAmbiguous),
    }
    let hosts = fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(b"host"))
        .count();
    // RFC 9112 §3.2.
    if hosts > 1 || (hosts == 0 && request.version == Version::HTTP_11) {
        return Err(Reason::RequestMalformed);
    }
    // There is nothing to upgrade to, and bytes after the head would not be HTTP.
    if request.headers.contains_key(http::header::UPGRADE) {
        return Err(Reason::RequestMalformed);
    }
    Ok(())
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
fn is_length(value: &[u8]) -> bool {
    (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_head(fields: &str, version: Version) -> Result<(), Reason> {
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
        for fields in [
            "Host: a\r\nContent-Length: 5\r\n",
            "Host: a\r\nTransfer-Encoding: chunked\r\n",
            "Host: a\r\nTransfer-Encoding: Chunked\r\n",
            "Host: a\r\n",
        ] {
            assert_eq!(check_head(fields, Version::HTTP_11), Ok(()), "{fields}");
        }
        assert_eq!(
            check_head("Content-Length: 5\r\n", Version::HTTP_10),
            Ok(())
        );
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

//! Parses request heads strictly and response heads leniently.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use http::{request, response};
use httparse::{ParserConfig, Status};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Connection;
use crate::error::HeadError;
use crate::limits::{MAX_FIELDS, MAX_HEAD, MAX_RESPONSE_FIELDS, MAX_RESPONSE_HEAD, MAX_STATUS};
use crate::scan::{find_head_end, has_strict_line_endings};

/// Maximum number of empty lines before a head.
const MAX_LEADING_EMPTY_LINES: usize = 8;

/// Reads a whole request head. The caller sets the deadline.
///
/// # Errors
///
/// * [`HeadError::TooLarge`] if the head exceeds [`MAX_HEAD`] bytes or [`MAX_FIELDS`] fields.
/// * [`HeadError::Ambiguous`] if a line ends without CR LF, is folded, or has an invalid name
///   or value, or if the authority of the request target differs from `Host`.
/// * [`HeadError::Malformed`] if the bytes are not a valid HTTP/1 head, or if the request
///   target is invalid or has a form that is not for servers.
/// * [`HeadError::Disconnected`] if the connection ends first.
pub async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
) -> Result<request::Parts, HeadError> {
    let is_plausible = |start: &[u8]| start.first().is_none_or(u8::is_ascii_alphabetic);
    connection.is_head_request = false;
    let head = read_head(connection, MAX_HEAD, is_plausible).await;
    let start = head.as_ref().map_or(&connection.read[..], |head| &head[..]);
    connection.is_head_request = start.starts_with(b"HEAD ");
    let head = head?;
    if !has_strict_line_endings(&head) {
        return Err(HeadError::Ambiguous);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&head, &mut fields) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(HeadError::Malformed),
        Err(error) => return Err(head_error(error)),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(HeadError::Malformed);
    };
    let headers = header_map(connection.take_header_map(), &head, request.headers)?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| HeadError::Malformed)?;
    parts.uri = parse_target(&head, target, headers.get(HOST))?;
    parts.version = http_version(version);
    parts.headers = headers;
    Ok(parts)
}

/// Reads a whole response head, interim or final. The caller sets the deadline.
///
/// # Errors
///
/// * [`HeadError::TooLarge`] if the head exceeds 256 KiB or 256 fields.
/// * [`HeadError::Ambiguous`] if a name or value is invalid.
/// * [`HeadError::Malformed`] if the bytes are not a valid HTTP/1 head, or if the status is not one
///   of HTTP.
/// * [`HeadError::Disconnected`] if the connection ends first.
pub async fn read_response<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
) -> Result<response::Parts, HeadError> {
    let is_plausible = |start: &[u8]| start.iter().zip(b"HTTP/").all(|(a, b)| a == b);
    let head = read_head(connection, MAX_RESPONSE_HEAD, is_plausible).await?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_RESPONSE_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut response, &head, &mut fields);
    match parsed {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(HeadError::Malformed),
        Err(error) => return Err(head_error(error)),
    }
    let (Some(code), Some(version)) = (response.code, response.version) else {
        return Err(HeadError::Malformed);
    };
    if code > MAX_STATUS {
        return Err(HeadError::Malformed);
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(code).map_err(|_| HeadError::Malformed)?;
    parts.version = http_version(version);
    parts.headers = header_map(connection.take_header_map(), &head, response.headers)?;
    Ok(parts)
}

/// Reads up to the empty line that ends a head, and returns the bytes of the head.
async fn read_head<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    max_len: usize,
    is_plausible: impl Fn(&[u8]) -> bool,
) -> Result<Bytes, HeadError> {
    let (mut searched, mut empty_lines) = (0, 0);
    loop {
        // Empty lines before a head are skipped (RFC 9112 §2.2).
        while searched == 0
            && empty_lines < MAX_LEADING_EMPTY_LINES
            && connection.read.starts_with(b"\r\n")
        {
            connection.read.advance(2);
            empty_lines += 1;
        }
        if !is_plausible(&connection.read) && connection.read[..] != b"\r"[..] {
            return Err(HeadError::Malformed);
        }
        match find_head_end(&connection.read, searched) {
            Some(end) if end <= max_len => return Ok(connection.read.split_to(end).freeze()),
            None if connection.read.len() < max_len => {}
            _ => return Err(HeadError::TooLarge),
        }
        // The end of the head has at most three bytes, so its first two may be here already.
        searched = connection.read.len().saturating_sub(2);
        connection.fill_some().await?;
    }
}

fn head_error(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            HeadError::Ambiguous
        }
        _ => HeadError::Malformed,
    }
}

/// Converts the minor version that `httparse` returns.
fn http_version(minor: u8) -> Version {
    match minor {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// Builds the header map of a head. The values are slices of `head`.
///
/// `recycled` is the map of the previous head. Most heads of a connection have the same
/// field names, and then only the values are replaced.
fn header_map(
    recycled: HeaderMap,
    head: &Bytes,
    fields: &[httparse::Header<'_>],
) -> Result<HeaderMap, HeadError> {
    let mut headers = recycled;
    let has_name = |((name, _), field): ((&HeaderName, _), &httparse::Header<'_>)| {
        let name = name.as_str();
        name == field.name || name.eq_ignore_ascii_case(field.name)
    };
    if headers.len() == fields.len() && headers.iter().zip(fields).all(has_name) {
        for (value, field) in headers.values_mut().zip(fields) {
            *value = header_value(head, field.value)?;
        }
        return Ok(headers);
    }
    headers.clear();
    headers.reserve(fields.len());
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| HeadError::Malformed)?;
        headers.append(name, header_value(head, field.value)?);
    }
    Ok(headers)
}

fn header_value(head: &Bytes, value: &[u8]) -> Result<HeaderValue, HeadError> {
    let value = value.trim_ascii();
    let value = match HeaderValue::from_maybe_shared(head.slice_ref(value)) {
        Err(_) if value.contains(&b'\n') => HeaderValue::from_maybe_shared(unfold_obs_fold(value)),
        value => value,
    };
    value.map_err(|_| HeadError::Ambiguous)
}

/// Joins the lines of a folded value (`obs-fold`, RFC 9112 §5.2) in a response.
fn unfold_obs_fold(value: &[u8]) -> Bytes {
    let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let bytes = value.iter();
    bytes
        .map(|byte| if is_line_end(byte) { b' ' } else { *byte })
        .collect()
}

/// Parses the request target.
///
/// The absolute form is for proxies, and servers must accept it (RFC 9112 §3.2.2). It is
/// reduced to its path if its authority equals `host`.
fn parse_target(head: &Bytes, target: &str, host: Option<&HeaderValue>) -> Result<Uri, HeadError> {
    // A request target has no fragment (RFC 9112 §3.2).
    if target.contains('#') {
        return Err(HeadError::Malformed);
    }
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes()));
    let uri = uri.map_err(|_| HeadError::Malformed)?;
    if target.starts_with('/') {
        return Ok(uri);
    }
    let parts = uri.into_parts();
    let is_this_host = |authority: &Authority| {
        host.is_some_and(|host| {
            host.as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        })
    };
    match (parts.scheme, parts.authority, parts.path_and_query) {
        (Some(_), Some(authority), Some(path)) if is_this_host(&authority) => match path.query() {
            // The path of an authority without a path is `/` (RFC 9112 §3.2.1).
            Some(query) if path.as_str().starts_with('?') => {
                let target = format!("/?{query}").parse();
                target.map_err(|_| HeadError::Malformed)
            }
            _ => Ok(path.into()),
        },
        (Some(_), Some(_), _) => Err(HeadError::Ambiguous),
        // `OPTIONS *`
        (None, None, Some(path)) if path.as_str() == "*" => Ok(path.into()),
        _ => Err(HeadError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;
    use crate::connection::Transport;

    fn connection(wire: &[u8]) -> Connection<Cursor<Vec<u8>>> {
        Connection::new(Cursor::new(wire.to_vec()), Transport::Plain)
    }

    const MALFORMED: &str = "the head is not a valid HTTP/1 head";
    const AMBIGUOUS: &str = "the head is ambiguous";
    const DISCONNECTED: &str = "the connection ended before the head did";

    /// Names the variant of an error.
    fn kind(error: &HeadError) -> &'static str {
        match error {
            HeadError::TooLarge => "too large",
            HeadError::Malformed => MALFORMED,
            HeadError::Ambiguous => AMBIGUOUS,
            HeadError::Disconnected(_) => DISCONNECTED,
        }
    }

    #[tokio::test]
    async fn a_head_is_read_up_to_its_end_however_it_is_cut() {
        let wire = b"\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nEmpty:\r\n\r\nbody";
        for size in 1..=wire.len() {
            let (mut sender, receiver) = duplex(size);
            tokio::spawn(async move { sender.write_all(wire).await });
            let mut connection = Connection::new(receiver, Transport::Plain);
            let head = read_request(&mut connection).await.expect("a good head");
            assert_eq!(
                (&head.method, head.uri.to_string()),
                (&Method::POST, "/a?b".into())
            );
            assert_eq!(head.headers["x-y"], "z");
            assert_eq!(head.headers["empty"], "");
            assert!(b"body".starts_with(&connection.read), "{size}");
        }
    }

    #[tokio::test]
    async fn the_fields_of_a_head_do_not_depend_on_the_previous_head() {
        let heads = [
            "A: 1\r\nB: 2\r\n",
            "a: 3\r\nb: 4\r\n",
            "B: 5\r\nA: 6\r\n",
            "A: 7\r\n",
            "A: 8\r\nA: 9\r\nB: 10\r\n",
            "A: 11\r\nA: 12\r\nB: 13\r\n",
            "A: 14\r\nB: 15\r\nA: 16\r\n",
            "A: 17\r\nB: 18\r\nA: 19\r\n",
            "",
            "A: 20\r\nB:\r\n",
            "A: 21\r\nC: 22\r\n",
        ];
        let wire = heads.map(|fields| format!("GET / HTTP/1.1\r\n{fields}\r\n"));
        let mut together = connection(wire.concat().as_bytes());
        for one in wire {
            let alone = read_request(&mut connection(one.as_bytes())).await;
            let head = read_request(&mut together).await.expect("a good head");
            assert_eq!(head.headers, alone.expect("a good head").headers, "{one}");
            together.recycle(head.headers);
            let recycled = together.take_header_map();
            assert!(recycled.values().all(HeaderValue::is_empty));
            together.recycle(recycled);
        }
    }

    #[tokio::test]
    async fn all_heads_of_a_connection_share_one_buffer() {
        let (mut sender, receiver) = duplex(1024);
        let mut connection = Connection::new(receiver, Transport::Plain);
        let mut buffers = Vec::new();
        for _ in 0..10 {
            let wire = b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n";
            sender.write_all(wire).await.unwrap();
            let head = read_request(&mut connection).await.expect("a good head");
            let http::request::Parts { headers, uri, .. } = head;
            drop(uri);
            connection.recycle(headers);
            buffers.push((connection.read.as_ptr(), connection.read.capacity()));
        }
        assert!(buffers.iter().all(|buffer| *buffer == buffers[0]));
        assert!(buffers[0].1 > 0);
        // Control: a slice of the buffer that is still held prevents its reuse.
        sender
            .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let head = read_request(&mut connection).await.expect("a good head");
        connection.recycle(HeaderMap::new());
        assert_eq!(connection.read.capacity(), 0, "{head:?}");
    }

    #[tokio::test]
    async fn a_target_is_a_path_of_this_host() {
        for (target, expected) in [
            ("/", Ok("/")),
            ("/a/../b?c=%20d", Ok("/a/../b?c=%20d")),
            ("//other/a", Ok("//other/a")),
            ("http://h/a?b", Ok("/a?b")),
            ("http://H:80", Err(AMBIGUOUS)),
            ("http://h", Ok("/")),
            ("http://h?a=b", Ok("/?a=b")),
            ("http://other/a", Err(AMBIGUOUS)),
            ("*", Ok("*")),
            ("/a#b", Err(MALFORMED)),
            ("h:80", Err(MALFORMED)),
            ("a/b", Err(MALFORMED)),
            ("/\u{7f}", Err(MALFORMED)),
        ] {
            let wire = format!("POST {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let head = read_request(&mut connection(wire.as_bytes())).await;
            let path = head.map(|head| head.uri.to_string());
            assert_eq!(path.as_deref().map_err(kind), expected, "{target}");
        }
    }

    #[tokio::test]
    async fn an_invalid_head_is_refused() {
        for (wire, expected) in [
            (&b"\x16\x03\x01"[..], MALFORMED),
            (b" GET / HTTP/1.1\r\n\r\n", MALFORMED),
            (b"GET / HTTP/2.0\r\n\r\n", MALFORMED),
            (b"GET / HTTP/1.1 \r\n\r\n", AMBIGUOUS),
            (b"GET  / HTTP/1.1\r\n\r\n", MALFORMED),
            (b"GET / HTTP/1.1\n\n", AMBIGUOUS),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", AMBIGUOUS),
            (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", AMBIGUOUS),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", AMBIGUOUS),
            (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", AMBIGUOUS),
            (b"GET / HTTP/1.1\r\nA: b", DISCONNECTED),
            (b"", DISCONNECTED),
        ] {
            let read = read_request(&mut connection(wire)).await;
            let error = read.expect_err("a bad head");
            assert_eq!(kind(&error), expected, "{}", wire.escape_ascii());
        }
    }

    #[tokio::test]
    async fn response_heads_are_parsed_leniently() {
        for wire in [
            "HTTP/1.1 200 OK\r\nServer : a\r\nX: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\nServer: a\nX: b c\n\n",
            "HTTP/1.0 200\r\nServer: a\r\nX: b c\r\n\r\n",
        ] {
            let read = read_response(&mut connection(wire.as_bytes())).await;
            let head = read.unwrap_or_else(|error| panic!("{error:?}: {wire:?}"));
            assert_eq!(
                (head.status, &head.headers["server"]),
                (StatusCode::OK, &HeaderValue::from_static("a"))
            );
        }
        let many = "X: y\r\n".repeat(200);
        let long = format!(
            "HTTP/1.1 200 OK\r\n{many}Y: {}\r\n\r\n",
            "z".repeat(100_000)
        );
        let read = read_response(&mut connection(long.as_bytes())).await;
        assert_eq!(read.expect("a good head").headers.len(), 201);
        // The connection stays open: the error must not wait for more bytes.
        let (mut server, receiver) = duplex(64);
        server.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let read = read_response(&mut Connection::new(receiver, Transport::Plain)).await;
        assert!(matches!(read, Err(HeadError::Malformed)));
    }
}

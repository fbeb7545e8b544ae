//! Heads: where one ends, what it says, and how it is written.

use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, Bytes};
use http::header::{CONNECTION, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use httparse::{ParserConfig, Status};
use pingora_http::{RequestHeader, ResponseHeader};

use super::Connection;

/// Most bytes of a head.
pub(crate) const MAX_HEAD: usize = 64 * 1024;
/// Most fields of a head.
pub(crate) const MAX_FIELDS: usize = 100;

/// The same of answers: servers are trusted to answer with more than senders may send.
const MAX_ANSWER: usize = 256 * 1024;
const MAX_ANSWER_FIELDS: usize = 256;
/// Most empty lines before a head.
const MAX_EMPTY: usize = 8;

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    TooLarge,
    Malformed,
    /// Two systems could read it in two ways.
    Ambiguous,
    /// The connection ended first.
    Cut,
}

/// Reads a request's head, all of it: the time that takes is for the caller to limit.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) async fn read_request(connection: &mut Connection) -> Result<RequestHeader, Flaw> {
    let begins_well = |start: &[u8]| start.first().is_none_or(u8::is_ascii_alphabetic);
    let head = read_whole(connection, MAX_HEAD, begins_well).await?;
    if !ends_lines_strictly(&head) {
        return Err(Flaw::Ambiguous);
    }
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&head, &mut fields) {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(Flaw::Malformed),
        Err(error) => return Err(flaw(error)),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Flaw::Malformed);
    };
    let headers = headers(connection.names(), &head, request.headers)?;
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(method.as_bytes()).map_err(|_| Flaw::Malformed)?;
    parts.uri = uri(&head, target, headers.get(HOST))?;
    parts.version = of_number(version);
    parts.headers = headers;
    Ok(parts.into())
}

/// Reads the head of an answer, interim or not. Servers may be less strict than senders
/// must be, because nothing but their answer depends on it.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) async fn read_answer(connection: &mut Connection) -> Result<ResponseHeader, Flaw> {
    let begins_well = |start: &[u8]| start.iter().zip(b"HTTP/").all(|(a, b)| a == b);
    let head = read_whole(connection, MAX_ANSWER, begins_well).await?;
    let mut fields = [const { MaybeUninit::uninit() }; MAX_ANSWER_FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .allow_obsolete_multiline_headers_in_responses(true)
        .parse_response_with_uninit_headers(&mut answer, &head, &mut fields);
    match parsed {
        Ok(Status::Complete(_)) => {}
        Ok(Status::Partial) => return Err(Flaw::Malformed),
        Err(error) => return Err(flaw(error)),
    }
    let (Some(code), Some(version)) = (answer.code, answer.version) else {
        return Err(Flaw::Malformed);
    };
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(code).map_err(|_| Flaw::Malformed)?;
    parts.version = of_number(version);
    parts.headers = headers(connection.names(), &head, answer.headers)?;
    Ok(parts.into())
}

/// Reads up to the empty line that ends a head.
async fn read_whole(
    connection: &mut Connection,
    most: usize,
    begins_well: impl Fn(&[u8]) -> bool,
) -> Result<Bytes, Flaw> {
    let (mut searched, mut empty) = (0, 0);
    loop {
        // An empty line before a head is skipped (RFC 9112 §2.2).
        while searched == 0 && empty < MAX_EMPTY && connection.read.starts_with(b"\r\n") {
            connection.read.advance(2);
            empty += 1;
        }
        if !begins_well(&connection.read) && connection.read[..] != b"\r"[..] {
            return Err(Flaw::Malformed);
        }
        match end(&connection.read, searched) {
            Some(end) if end <= most => return Ok(connection.read.split_to(end).freeze()),
            None if connection.read.len() < most => {}
            _ => return Err(Flaw::TooLarge),
        }
        // The end may have begun already.
        searched = connection.read.len().saturating_sub(2);
        match connection.fill().await {
            Ok(len) if len > 0 => {}
            _ => return Err(Flaw::Cut),
        }
    }
}

/// What a server has said of a request that it has not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Early {
    /// Nothing yet, or nothing final.
    Nothing,
    Success,
    /// Whatever else, an answer or not.
    Refusal,
}

/// What the bytes that have come so far say.
pub(super) fn early(mut read: &[u8]) -> Early {
    const LINE: &[u8] = b"HTTP/1.";
    loop {
        match read {
            _ if read.len() > MAX_ANSWER => return Early::Refusal,
            [b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', class, ..] => match class {
                b'1' => match end(read, 0) {
                    Some(end) => read = &read[end..],
                    None => return Early::Nothing,
                },
                b'2' => return Early::Success,
                _ => return Early::Refusal,
            },
            _ if read.len() < 10 && read.iter().zip(LINE).all(|(a, b)| a == b) => {
                return Early::Nothing;
            }
            _ => return Early::Refusal,
        }
    }
}

/// Where the head in `read` ends, searched from `from` on.
fn end(read: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &read[from..])
        .map(|at| from + at + 1)
        .find_map(|line| match &read[line..] {
            [b'\n', ..] => Some(line + 1),
            [b'\r', b'\n', ..] => Some(line + 2),
            _ => None,
        })
}

/// Whether every line ends with CR LF, and no line continues the one before. The parser
/// takes more than that.
fn ends_lines_strictly(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).all(|at| {
        let is_continued = matches!(head.get(at + 1), Some(b' ' | b'\t'));
        at > 0 && head[at - 1] == b'\r' && !is_continued
    })
}

fn flaw(error: httparse::Error) -> Flaw {
    match error {
        httparse::Error::TooManyHeaders => Flaw::TooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            Flaw::Ambiguous
        }
        _ => Flaw::Malformed,
    }
}

fn of_number(version: u8) -> Version {
    match version {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// The fields, their values cut out of the head. `names` are those of the head before,
/// which are mostly these: what is filled in is not built.
fn headers(
    names: HeaderMap,
    head: &Bytes,
    fields: &[httparse::Header<'_>],
) -> Result<HeaderMap, Flaw> {
    let mut headers = names;
    let is_called = |((name, _), field): ((&HeaderName, _), &httparse::Header<'_>)| {
        let name = name.as_str();
        name == field.name || name.eq_ignore_ascii_case(field.name)
    };
    if headers.len() == fields.len() && headers.iter().zip(fields).all(is_called) {
        for (to, field) in headers.values_mut().zip(fields) {
            *to = value(head, field.value)?;
        }
        return Ok(headers);
    }
    headers.clear();
    headers.reserve(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Flaw::Malformed)?;
        headers.append(name, value(head, field.value)?);
    }
    Ok(headers)
}

fn value(head: &Bytes, value: &[u8]) -> Result<HeaderValue, Flaw> {
    let value = value.trim_ascii();
    let value = match HeaderValue::from_maybe_shared(head.slice_ref(value)) {
        Err(_) if value.contains(&b'\n') => HeaderValue::from_maybe_shared(of_one_line(value)),
        value => value,
    };
    value.map_err(|_| Flaw::Ambiguous)
}

/// A value whose line goes on in the next one (RFC 9112 §5.2), in an answer.
fn of_one_line(value: &[u8]) -> Bytes {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let bytes = value.iter();
    bytes
        .map(|byte| if is_end(byte) { b' ' } else { *byte })
        .collect()
}

/// What a request is for. The absolute form is for proxies, and servers have to take it
/// (RFC 9112 §3.2.2): it counts as its path, if it names the host that `Host` names.
fn uri(head: &Bytes, target: &str, host: Option<&HeaderValue>) -> Result<Uri, Flaw> {
    // A fragment is for the client alone.
    if target.contains('#') {
        return Err(Flaw::Malformed);
    }
    let uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes()));
    let uri = uri.map_err(|_| Flaw::Malformed)?;
    if target.starts_with('/') {
        return Ok(uri);
    }
    let parts = uri.into_parts();
    let named = |authority: &Authority| {
        host.is_some_and(|host| {
            host.as_bytes()
                .eq_ignore_ascii_case(authority.as_str().as_bytes())
        })
    };
    match (parts.scheme, parts.authority, parts.path_and_query) {
        (Some(_), Some(authority), Some(path)) if named(&authority) => match path.query() {
            // The path of an authority alone is `/` (RFC 9112 §3.2.1).
            Some(query) if path.as_str().starts_with('?') => {
                let target = format!("/?{query}").parse();
                target.map_err(|_| Flaw::Malformed)
            }
            _ => Ok(path.into()),
        },
        (Some(_), Some(_), _) => Err(Flaw::Ambiguous),
        // `OPTIONS *`
        (None, None, Some(path)) if path.as_str() == "*" => Ok(path.into()),
        _ => Err(Flaw::Malformed),
    }
}

/// Whether the connection can take another request after this one (RFC 9112 §9.3).
pub(crate) fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let values = headers.get_all(CONNECTION).iter();
        let mut words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        words.any(|said| said.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
    };
    !says("close") && (version != Version::HTTP_10 || says("keep-alive"))
}

/// Writes a request's head, up to its fields.
pub(crate) fn write_request_line(to: &mut Vec<u8>, method: &Method, target: &str) {
    to.put_slice(method.as_str().as_bytes());
    to.put_u8(b' ');
    to.put_slice(target.as_bytes());
    to.put_slice(b" HTTP/1.1\r\n");
}

/// Writes the first line of an answer.
pub(crate) fn write_status_line(to: &mut Vec<u8>, status: StatusCode) {
    to.put_slice(b"HTTP/1.1 ");
    to.put_slice(status.as_str().as_bytes());
    to.put_u8(b' ');
    to.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    to.put_slice(b"\r\n");
}

/// Writes one field. There must be no line end in either.
pub(crate) fn write_field(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    to.put_slice(name.as_bytes());
    to.put_slice(b": ");
    to.put_slice(value);
    to.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use http::request::Parts;
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn connection(wire: &[u8]) -> Connection {
        Connection::new(Box::new(Cursor::new(wire.to_vec())))
    }

    #[tokio::test]
    async fn a_head_is_read_up_to_its_end_however_it_is_cut() {
        let wire = b"\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nX-Y:  z \r\nEmpty:\r\n\r\nbody";
        for size in 1..=wire.len() {
            let (mut sender, receiver) = duplex(size);
            tokio::spawn(async move { sender.write_all(wire).await });
            let mut connection = Connection::new(Box::new(receiver));
            let head = read_request(&mut connection).await.expect("a good head");
            assert_eq!(
                (&head.method, head.raw_path()),
                (&Method::POST, &b"/a?b"[..])
            );
            assert_eq!(head.headers["x-y"], "z");
            assert_eq!(head.headers["empty"], "");
            assert!(b"body".starts_with(&connection.read), "{size}");
        }
    }

    #[tokio::test]
    async fn fields_are_those_of_their_own_head_whatever_came_before() {
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
            let Parts { headers, .. } = head.into();
            together.rest(headers);
            let names = together.names();
            assert!(names.values().all(HeaderValue::is_empty));
            together.rest(names);
        }
    }

    #[tokio::test]
    async fn one_buffer_is_enough_for_all_heads_of_a_connection() {
        let (mut sender, receiver) = duplex(1024);
        let mut connection = Connection::new(Box::new(receiver));
        let mut buffers = Vec::new();
        for _ in 0..10 {
            let wire = b"POST /a?b HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n";
            sender.write_all(wire).await.unwrap();
            let head = read_request(&mut connection).await.expect("a good head");
            let Parts { headers, .. } = head.into();
            connection.rest(headers);
            buffers.push((connection.read.as_ptr(), connection.read.capacity()));
        }
        assert!(buffers.iter().all(|buffer| *buffer == buffers[0]));
        assert!(buffers[0].1 > 0);
        // The control: what is held of the buffer keeps it from being used again.
        sender
            .write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
            .await
            .unwrap();
        let head = read_request(&mut connection).await.expect("a good head");
        connection.rest(HeaderMap::new());
        assert_eq!(connection.read.capacity(), 0, "{head:?}");
    }

    #[tokio::test]
    async fn targets_name_a_path_of_this_host() {
        for (target, expected) in [
            ("/", Ok("/")),
            ("/a/../b?c=%20d", Ok("/a/../b?c=%20d")),
            ("//other/a", Ok("//other/a")),
            ("http://h/a?b", Ok("/a?b")),
            ("http://H:80", Err(Flaw::Ambiguous)),
            ("http://h", Ok("/")),
            ("http://h?a=b", Ok("/?a=b")),
            ("http://other/a", Err(Flaw::Ambiguous)),
            ("*", Ok("*")),
            ("/a#b", Err(Flaw::Malformed)),
            ("h:80", Err(Flaw::Malformed)),
            ("a/b", Err(Flaw::Malformed)),
            ("/\u{7f}", Err(Flaw::Malformed)),
        ] {
            let wire = format!("POST {target} HTTP/1.1\r\nHost: h\r\n\r\n");
            let head = read_request(&mut connection(wire.as_bytes())).await;
            let path = head.map(|head| String::from_utf8_lossy(head.raw_path()).into_owned());
            assert_eq!(path.as_deref().map_err(|flaw| *flaw), expected, "{target}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_none_is_known_at_once_or_when_it_ends() {
        for (wire, expected) in [
            (&b"\x16\x03\x01"[..], Flaw::Malformed),
            (b" GET / HTTP/1.1\r\n\r\n", Flaw::Malformed),
            (b"GET / HTTP/2.0\r\n\r\n", Flaw::Malformed),
            (b"GET / HTTP/1.1 \r\n\r\n", Flaw::Ambiguous),
            (b"GET  / HTTP/1.1\r\n\r\n", Flaw::Malformed),
            (b"GET / HTTP/1.1\n\n", Flaw::Ambiguous),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Flaw::Ambiguous),
            (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", Flaw::Ambiguous),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Flaw::Ambiguous),
            (b"GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Flaw::Ambiguous),
            (b"GET / HTTP/1.1\r\nA: b", Flaw::Cut),
            (b"", Flaw::Cut),
        ] {
            let read = read_request(&mut connection(wire)).await;
            assert_eq!(read.err(), Some(expected), "{}", wire.escape_ascii());
        }
    }

    #[tokio::test]
    async fn servers_may_be_less_strict() {
        for wire in [
            "HTTP/1.1 200 OK\r\nServer : a\r\nX: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\nServer: a\nX: b c\n\n",
            "HTTP/1.0 200\r\nServer: a\r\nX: b c\r\n\r\n",
        ] {
            let read = read_answer(&mut connection(wire.as_bytes())).await;
            let head = read.unwrap_or_else(|flaw| panic!("{flaw:?}: {wire:?}"));
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
        let read = read_answer(&mut connection(long.as_bytes())).await;
        assert_eq!(read.map(|head| head.headers.len()), Ok(201));
        // Nothing more may come of it.
        let (mut server, receiver) = duplex(64);
        server.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        let read = read_answer(&mut Connection::new(Box::new(receiver))).await;
        assert_eq!(read.err(), Some(Flaw::Malformed));
    }

    #[test]
    fn what_a_server_says_early_is_final_or_it_is_not() {
        for (read, expected) in [
            ("", Early::Nothing),
            ("HT", Early::Nothing),
            ("HTTP/1.1 ", Early::Nothing),
            ("HTTP/1.1 100", Early::Nothing),
            (
                "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
                Early::Nothing,
            ),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", Early::Success),
            ("HTTP/1.0 204", Early::Success),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413", Early::Refusal),
            ("HTTP/1.1 307", Early::Refusal),
            ("SSH", Early::Refusal),
            ("HTTP/2.0 200", Early::Refusal),
        ] {
            assert_eq!(early(read.as_bytes()), expected, "{read}");
        }
    }

    #[test]
    fn a_connection_goes_on_unless_one_side_says_otherwise() {
        for (version, says, expected) in [
            (Version::HTTP_11, "", true),
            (Version::HTTP_11, "keep-alive", true),
            (Version::HTTP_11, "x, Close", false),
            (Version::HTTP_10, "", false),
            (Version::HTTP_10, "Keep-Alive", true),
            (Version::HTTP_10, "keep-alive, close", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(says));
            assert_eq!(
                keeps_alive(version, &headers),
                expected,
                "{version:?} {says}"
            );
        }
    }
}

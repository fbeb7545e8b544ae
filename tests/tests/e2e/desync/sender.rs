//! A sender that counts every byte of its responses.

use std::net::SocketAddr;

use bytes::Bytes;
use hookgate_tests::{TestProvider, now, raw_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The sender whose deliveries get a good answer.
pub(super) const GOOD: &str = "g1";
/// The length of an event id.
pub(super) const ID_LEN: usize = 10;
const BODY_START: &str = r#"{"id":""#;
/// The number of bytes of a body that an upstream cannot receive without reading it.
const LARGE: usize = 8 * 1024 * 1024;
/// The maximum number of fields in a response.
const MAX_FIELDS: usize = 512;

/// The size of the body of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Large,
}

/// Returns the event id at the start of the body of a delivery.
pub(super) fn id_of_body(body: &str) -> Option<&str> {
    body.strip_prefix(BODY_START)?.get(..ID_LEN)
}

/// A complete response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// Returns the values of the field `name`, which is in lower case.
    pub(super) fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let fields = self.fields.iter().filter(move |(found, _)| found == name);
        fields.map(|(_, value)| value.as_str())
    }
}

/// A sender with one connection. It connects again after the server has closed the connection.
pub(super) struct Sender {
    address: SocketAddr,
    path: String,
    stream: Option<TcpStream>,
}

/// The result of one delivery for its sender.
#[derive(Debug)]
pub(super) enum Received {
    Response(Response),
    /// The connection ended before a complete response.
    Cut,
    /// Bytes that are not one response.
    Malformed(String),
}

impl Sender {
    pub(super) fn new(address: SocketAddr, path: &str) -> Self {
        Self {
            address,
            path: path.to_owned(),
            stream: None,
        }
    }

    /// Delivers the event `id`, and reads its response to the last byte.
    pub(super) async fn deliver(&mut self, id: &str, size: Size) -> Received {
        let provider = TestProvider::named("beatapi");
        let mut body = format!("{BODY_START}{id}\"}}");
        if size == Size::Large {
            body.push_str(&" ".repeat(LARGE));
        }
        let body = Bytes::from(body);
        let request = raw_request(&self.path, &provider.sign(&body, now(), id), &body);
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(self.address)
                .await
                .expect("the server listens"),
        };
        // A server may respond before it has read the request.
        let _ = stream.write_all(&request).await;
        let mut bytes = Vec::new();
        loop {
            match parse(&bytes, End::Open) {
                Parsed::Complete(response, length) if length == bytes.len() => {
                    if response.values("connection").all(|value| value != "close") {
                        self.stream = Some(stream);
                        return Received::Response(response);
                    }
                    return self.read_end(stream, response).await;
                }
                Parsed::Complete(_, length) => {
                    let rest = bytes[length..].escape_ascii();
                    return Received::Malformed(format!("bytes behind the response: {rest}"));
                }
                Parsed::Malformed(error) => return Received::Malformed(error),
                Parsed::Partial => {}
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                return match parse(&bytes, End::Closed) {
                    Parsed::Complete(response, _) => Received::Response(response),
                    Parsed::Malformed(error) => Received::Malformed(error),
                    Parsed::Partial => Received::Cut,
                };
            }
        }
    }

    /// Reads the end of a connection that the server closes after `response`.
    async fn read_end(&self, mut stream: TcpStream, response: Response) -> Received {
        let mut rest = Vec::new();
        // The server may reset a connection with unread bytes.
        let _ = stream.read_to_end(&mut rest).await;
        match rest.is_empty() {
            true => Received::Response(response),
            false => Received::Malformed(format!("behind the response: {}", rest.escape_ascii())),
        }
    }

    /// Ends the connection, and returns the bytes that came after the last response.
    pub(super) async fn finish(self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Some(mut stream) = self.stream {
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut rest).await;
        }
        rest
    }
}

/// Whether more bytes may come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Closed,
}

enum Parsed {
    /// A response, and the number of its bytes.
    Complete(Response, usize),
    Partial,
    Malformed(String),
}

/// Reads one response, as RFC 9112 §6.3 says and without leniency.
fn parse(bytes: &[u8], end: End) -> Parsed {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(error) => return Parsed::Malformed(format!("{error}: {}", bytes.escape_ascii())),
    };
    let has_bare_line_end = bytes[..length]
        .split_inclusive(|byte| *byte == b'\n')
        .any(|line| !line.ends_with(b"\r\n"));
    let status = head.code.expect("the head is complete");
    if status < 200 || has_bare_line_end {
        return Parsed::Malformed(bytes[..length].escape_ascii().to_string());
    }
    let fields = head.headers.iter().map(|field| {
        let value = String::from_utf8_lossy(field.value);
        (field.name.to_lowercase(), value.into_owned())
    });
    let mut response = Response {
        status,
        fields: fields.collect(),
        body: Vec::new(),
    };
    let rest = &bytes[length..];
    let body = match framing(&response) {
        Ok(Framing::None) => Some((Vec::new(), 0)),
        Ok(Framing::Length(wanted)) => rest.get(..wanted).map(|body| (body.to_vec(), wanted)),
        Ok(Framing::Chunked) => match chunks(rest) {
            Ok(body) => body,
            Err(error) => return Parsed::Malformed(error),
        },
        Ok(Framing::UntilClose) => (end == End::Closed).then(|| (rest.to_vec(), rest.len())),
        Err(error) => return Parsed::Malformed(error),
    };
    match body {
        Some((body, read)) => {
            response.body = body;
            Parsed::Complete(response, length + read)
        }
        None => Parsed::Partial,
    }
}

enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

fn framing(response: &Response) -> Result<Framing, String> {
    let lengths: Vec<_> = response.values("content-length").collect();
    let codings: Vec<_> = response.values("transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        _ if matches!(response.status, 204 | 304) => Ok(Framing::None),
        ([], []) => Ok(Framing::UntilClose),
        ([length], []) => length
            .parse()
            .map(Framing::Length)
            .map_err(|_| format!("the length {length}")),
        ([], ["chunked"]) => Ok(Framing::Chunked),
        _ => Err(format!("the framing {lengths:?} {codings:?}")),
    }
}

/// Returns the body in chunks and the number of its bytes, or `None` if it is not complete.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let rest = &bytes[at..];
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Ok(None);
        };
        let digits = str::from_utf8(&rest[..line]).map_err(|error| error.to_string())?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| format!("the size {digits}"))?;
        let data = line + 2;
        let Some(chunk) = rest.get(data..data + size + 2) else {
            return Ok(None);
        };
        let Some(chunk) = chunk.strip_suffix(b"\r\n") else {
            return Err("no line end behind a chunk".to_owned());
        };
        at += data + size + 2;
        match size {
            0 => return Ok(Some((body, at))),
            _ => body.extend_from_slice(chunk),
        }
    }
}

#[test]
fn the_parser_of_the_sender_divides_responses_strictly() {
    let parsed = |wire: &str, end| match parse(wire.as_bytes(), end) {
        Parsed::Complete(response, length) => {
            format!("{} {} {length}", response.status, response.body.len())
        }
        Parsed::Partial => "partial".to_owned(),
        Parsed::Malformed(_) => "malformed".to_owned(),
    };
    for (wire, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "200 2 40"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            "200 2 40",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "partial"),
        ("HTTP/1.1 204 No Content\r\n\r\nHTTP", "204 0 27"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nx",
            "200 1 58",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nab", "partial"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
            "malformed",
        ),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "malformed"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "malformed"),
        ("EVIL", "malformed"),
    ] {
        assert_eq!(parsed(wire, End::Open), expected, "{wire}");
    }
    assert_eq!(parsed("HTTP/1.1 200 OK\r\n\r\nab", End::Closed), "200 2 21");
}

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
mod tests;

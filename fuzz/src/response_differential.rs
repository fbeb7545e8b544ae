//! Fuzz target: the response of an upstream, as hookgate and hyper read it.

use bytes::Bytes;
use hookgate_http1::{Connection, ResponseFraming, read_response};
use http::{Method, Request, StatusCode, Version, response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::chunked_body::encode;
use super::http1::{Pieces, connection, ready, rest};

/// The status of a response, and its body.
type Answer = (StatusCode, Vec<u8>);

/// Reads `data` as the response to a POST.
///
/// A response that both accept has the same status and the same body. hyper accepts each response
/// that hookgate accepts, except for the listed reasons.
pub fn response_differential(data: &[u8]) {
    let (ours, theirs) = (by_hookgate(data), by_hyper(data));
    match (ours, theirs) {
        (Some(our), Some(their)) => assert_eq!(our, their),
        (Some(our), None) => assert!(reason(data, &our).is_some(), "hyper refuses {our:?}"),
        (None, _) => {}
    }
}

/// Returns the reason for which hyper refuses a response that hookgate accepts, if it is a known one.
fn reason(data: &[u8], (_, body): &Answer) -> Option<&'static str> {
    let mut connection = connection(data, data.len().max(1));
    let parts = final_head(&mut connection)?;
    if !parts.headers.contains_key("transfer-encoding") {
        return None;
    }
    if parts.version == Version::HTTP_10 {
        return Some("a transfer coding in HTTP/1.0: hookgate closes the connection behind it");
    }
    let head = &data[..data.len() - rest(&mut connection).len()];
    let strict = [head, &encode(body, 1024)].concat();
    by_hyper(&strict).map(|_| "a line between chunks or a trailer that some servers write")
}

fn final_head(connection: &mut Connection<Pieces>) -> Option<response::Parts> {
    loop {
        let parts = ready(read_response(connection)).ok()?;
        match parts.status {
            StatusCode::SWITCHING_PROTOCOLS => return None,
            status if status.is_informational() => {}
            _ => return Some(parts),
        }
    }
}

fn by_hookgate(data: &[u8]) -> Option<Answer> {
    let mut connection = connection(data, data.len().max(1));
    let parts = final_head(&mut connection)?;
    let mut body = ResponseFraming::of(&Method::POST, &parts)?.body;
    let mut bytes = Vec::new();
    while let Some(piece) = ready(body.next(&mut connection)).ok()? {
        bytes.extend_from_slice(&piece);
    }
    Some((parts.status, bytes))
}

fn by_hyper(data: &[u8]) -> Option<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        // hyper accepts no response before the request.
        let stream = TokioIo::new(Pieces::response(data));
        // hookgate has these settings too.
        let handshake = http1::Builder::new()
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_headers(256)
            .handshake::<_, Empty<Bytes>>(stream);
        let (mut sender, connection) = handshake.await.ok()?;
        let exchange = async move {
            let request = Request::post("/").header("host", "h");
            let request = request.body(Empty::new()).unwrap();
            let response = sender.send_request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.ok()?;
            Some((parts.status, body.to_bytes().to_vec()))
        };
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    })
}

//! Fuzz target: the response of an upstream, as hookgate and hyper read it.

use bytes::Bytes;
use hookgate_http1::{ResponseFraming, read_response};
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::http1::{Pieces, connection, ready};

/// The status of a response, and its body.
type Answer = (StatusCode, Vec<u8>);

/// Reads `data` as the response to a POST.
///
/// A response that both accept has the same status and the same body. hyper accepts each response
/// that hookgate accepts, except for the listed reasons.
pub fn response_differential(data: &[u8]) {
    let (ours, theirs) = (by_hookgate(data), by_hyper(data));
    match (ours, theirs) {
        (Some((our, _)), Some(their)) => assert_eq!(our, their),
        (Some((our, reason)), None) => assert!(reason.is_some(), "hyper refuses {our:?}"),
        (None, _) => {}
    }
}

/// Returns the response, and the reason for which hyper may refuse it.
fn by_hookgate(data: &[u8]) -> Option<(Answer, Option<&'static str>)> {
    let mut connection = connection(data, data.len().max(1));
    let parts = loop {
        let parts = ready(read_response(&mut connection)).ok()?;
        match parts.status {
            StatusCode::SWITCHING_PROTOCOLS => return None,
            status if status.is_informational() => {}
            _ => break parts,
        }
    };
    let mut body = ResponseFraming::of(&Method::POST, &parts)?.body;
    let mut bytes = Vec::new();
    while let Some(piece) = ready(body.next(&mut connection)).ok()? {
        bytes.extend_from_slice(&piece);
    }
    let is_coded = parts.headers.contains_key("transfer-encoding");
    let reason = (is_coded && parts.version == Version::HTTP_10)
        .then_some("a transfer coding in HTTP/1.0: hookgate reads it, and closes the connection");
    Some(((parts.status, bytes), reason))
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

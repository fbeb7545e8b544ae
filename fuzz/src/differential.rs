//! Fuzz target: the requests of one connection, as hookgate and hyper divide it.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use hookgate_http1::{Body, BodyLen, Strictness, check_request, keeps_alive, read_request};
use http::{Method, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::http1::{Pieces, connection, ready};

/// One request of a connection: its method, its target, and its body.
type Exchange = (Method, String, Vec<u8>);

/// Reads `data` as all requests of one connection.
///
/// Requests that both accept have equal methods, targets and bodies. hyper accepts each request
/// that hookgate accepts, except for the listed reasons.
pub fn differential(data: &[u8]) {
    let ours = by_hookgate(data);
    let theirs = by_hyper(data);
    for (index, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "request {index}");
    }
    if let Some((method, target, _)) = ours.get(theirs.len()) {
        panic!("hyper refuses {method} {target}, which hookgate accepts");
    }
}

fn by_hookgate(data: &[u8]) -> Vec<Exchange> {
    let mut connection = connection(data, data.len().max(1));
    let mut exchanges = Vec::new();
    while let Ok(parts) = ready(read_request(&mut connection)) {
        let mut body = match check_request(&parts) {
            Ok(BodyLen::Known(len)) => Body::Known(len),
            Ok(BodyLen::Unknown) => Body::chunked(Strictness::Strict),
            Err(_) => break,
        };
        let mut bytes = Vec::new();
        loop {
            match ready(body.next(&mut connection)) {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece),
                Ok(None) => break,
                Err(_) => return exchanges,
            }
        }
        exchanges.push((parts.method, path(&parts.uri), bytes));
        if !keeps_alive(parts.version, &parts.headers) || parts.version == Version::HTTP_10 {
            break;
        }
    }
    exchanges
}

fn by_hyper(data: &[u8]) -> Vec<Exchange> {
    let exchanges = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(async |request: http::Request<Incoming>| {
        let (parts, body) = request.into_parts();
        if let Ok(body) = body.collect().await {
            let exchange = (parts.method, path(&parts.uri), body.to_bytes().to_vec());
            exchanges.borrow_mut().push(exchange);
        }
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let stream = TokioIo::new(Pieces::new(data, data.len().max(1)));
    let serving = http1::Builder::new()
        .half_close(true)
        .max_headers(100)
        .serve_connection(stream, service);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _: Result<(), _> = runtime.block_on(serving);
    exchanges.take()
}

/// hyper passes the absolute form on, which hookgate reduces to its path.
fn path(uri: &http::Uri) -> String {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('?') => format!("/{target}"),
        Some(target) => target.to_owned(),
        None => "/".to_owned(),
    }
}

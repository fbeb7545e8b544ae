//! Upstreams that respond before they have read the whole request body. An error response counts
//! at once; a success counts after the upstream has read the body.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hookgate_tests::{Gateway, now, send};
use http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::{beatapi, gateway, serve_raw};

#[tokio::test]
async fn an_error_response_before_the_body_was_read_is_relayed() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let server = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("the server listens");
            let mut some = [0; 4096];
            let _ = stream.read(&mut some).await;
            let refusal =
                b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(refusal).await;
            let _ = stream.shutdown().await;
            // The open socket prevents a reset, which the unread bytes would cause.
            open.push(stream);
        }
    });
    let gateway = Gateway::builder(address)
        .every_source("body = \"64MiB\"")
        .start();
    let provider = beatapi();
    let body = Bytes::from(vec![b' '; 100_000]);
    let response = send(
        gateway.address(),
        provider.request(provider.sign(&body, now(), ""), body),
    );
    assert_eq!(response.await.status, StatusCode::PAYLOAD_TOO_LARGE);
    server.abort();
}

/// The gateway must not wait for `timeout` after the response has arrived.
#[tokio::test]
async fn an_early_error_response_is_relayed_at_once() {
    let (address, _) = serve_raw(|mut stream| async move {
        let response = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n";
        let _ = stream.write_all(response).await;
        sleep(Duration::from_secs(600)).await;
    })
    .await;
    let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"60s\"")).start();
    let body = Bytes::from(vec![b' '; 32 * 1024 * 1024]);
    let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
    *request.uri_mut() = "/own".parse().expect("the path is valid");
    // The test client times out earlier than this upstream.
    let response = send(gateway.address(), request).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
}

/// An early success commits the event only after the whole body was sent. Otherwise the rest of
/// the body would be lost.
#[tokio::test]
async fn an_early_success_counts_after_the_whole_body_was_sent() {
    const LEN: usize = 32 * 1024 * 1024;
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const HINTS: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n";
    for (early, reads, late, expected) in [
        (OK, true, &b""[..], StatusCode::OK),
        (HINTS, true, OK, StatusCode::OK),
        (&[HINTS, OK].concat(), true, b"", StatusCode::OK),
        (OK, false, b"", StatusCode::BAD_GATEWAY),
    ] {
        let (early, read) = (early.to_vec(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&read);
        let shown = early.escape_ascii().to_string();
        let (address, _) = serve_raw(move |mut stream| {
            let (early, count) = (early.clone(), Arc::clone(&count));
            async move {
                let _ = stream.write_all(&early).await;
                let mut stream = BufReader::new(stream);
                if reads {
                    skip_head(&mut stream).await;
                }
                let mut some = vec![0; 64 * 1024];
                while reads && count.load(Ordering::SeqCst) < LEN {
                    match stream.read(&mut some).await {
                        Ok(len @ 1..) => count.fetch_add(len, Ordering::SeqCst),
                        _ => return,
                    };
                }
                let _ = stream.write_all(late).await;
            }
        })
        .await;
        let gateway = gateway(&format!("servers = [\"{address}\"]\ntimeout = \"60s\"")).start();
        let body = Bytes::from(vec![b' '; LEN]);
        let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
        *request.uri_mut() = "/own".parse().expect("the path is valid");
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, expected, "{shown} {reads}");
        // The last bytes may still be in the socket buffers.
        while reads && read.load(Ordering::SeqCst) < LEN {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Reads the head of a request, to its empty line.
async fn skip_head(stream: &mut BufReader<TcpStream>) {
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        let read = stream.read_line(&mut line).await;
        assert!(matches!(read, Ok(1..)), "the request has a head");
    }
}

#[tokio::test]
async fn an_early_error_response_is_relayed_at_once_over_http_2() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the server listens");
        let mut connection = h2::server::handshake(stream)
            .await
            .expect("the HTTP/2 handshake succeeds");
        let mut unread = Vec::new();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().status(413).body(());
            let _ = respond.send_response(head.expect("the head is valid"), true);
            // Holding the request neither reads nor resets the stream.
            unread.push(request);
        }
    });
    let gateway = gateway(&format!(
        "servers = [\"{address}\"]\nprotocol = \"h2c\"\ntimeout = \"60s\""
    ))
    .start();
    let body = Bytes::from(vec![b' '; 32 * 1024 * 1024]);
    let mut request = beatapi().request(beatapi().sign(&body, now(), ""), body);
    *request.uri_mut() = "/own".parse().expect("the path is valid");
    let response = send(gateway.address(), request).await;
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
}

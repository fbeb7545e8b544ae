//! HTTP/1.1 requests as bytes, for tests that change, split, or delay those bytes.

use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::delivery::{TestProvider, now};

/// Returns a genuine BeatAPI delivery of the event `id` as an HTTP/1.1 request.
pub fn raw_delivery(id: &str) -> Vec<u8> {
    let provider = TestProvider::named("beatapi");
    let body = provider.body(id);
    raw_request(&provider.path(), &provider.sign(&body, now(), id), &body)
}

/// Returns a `POST` request as bytes. `Content-Length` is its last header.
pub fn raw_request(path: &str, headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut request = format!("POST {path} HTTP/1.1\r\nHost: hooks.example\r\n").into_bytes();
    for (name, value) in headers {
        request.extend_from_slice(name.as_str().as_bytes());
        request.extend_from_slice(b": ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    request.extend_from_slice(body);
    request
}

/// Sends `request` and returns the head of its response, or an empty text if the server has closed
/// the connection.
pub async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &[u8],
) -> String {
    let mut response = Vec::new();
    if stream.write_all(request).await.is_err() {
        return String::new();
    }
    while !response.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read_exact(&mut byte).await {
            Ok(_) => response.extend(byte),
            Err(error) => {
                assert!(response.is_empty(), "half a response: {error}");
                return String::new();
            }
        }
    }
    let text = String::from_utf8(response).expect("the bytes are UTF-8");
    text.replace("Connection: ", "connection: ")
}

/// Returns whether `bytes` hold a response head and as many body bytes as it declares.
pub fn is_complete_response(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    body.len() >= length.map_or(0, |length| length.parse().expect("the length is a number"))
}

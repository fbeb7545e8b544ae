use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Who answered, if it was not the upstream.
    pub fn outcome(&self) -> Option<&str> {
        self.headers
            .get("hookgate-outcome")
            .and_then(|value| value.to_str().ok())
    }
}

/// Sends `request` to `address` on a connection of its own.
pub async fn send(address: SocketAddr, request: Request<BoxBody<Bytes, std::io::Error>>) -> Reply {
    try_send(address, request).await.expect("an answer")
}

/// Likewise, where the server may be gone.
pub async fn try_send(
    address: SocketAddr,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        let _ = connection.await;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    timeout(PATIENCE, exchange).await?
}

/// Writes `bytes` as they are and reads until the server closes the connection,
/// or until it has been silent for `quiet`.
pub async fn exchange_raw(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    // A server that refuses early may close before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout(quiet, stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
    }
    answer
}

/// What the gateway answers at `path` of its admin address, head and body.
pub async fn admin(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = exchange_raw(address, request.as_bytes(), Duration::from_secs(5)).await;
    String::from_utf8(answer).expect("text")
}

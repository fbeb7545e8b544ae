use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

const PATIENCE: Duration = Duration::from_secs(30);

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// Who answered, if it was not the upstream.
    pub fn outcome(&self) -> Option<&str> {
        self.headers
            .get("hookgate-outcome")
            .and_then(|value| value.to_str().ok())
    }
}

/// How a request is sent.
#[derive(Clone, Debug)]
pub enum Protocol {
    Http1,
    /// Without TLS.
    Http2,
    /// What the client offers is what is spoken.
    Tls(Arc<ClientConfig>),
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
    send_over(&Protocol::Http1, address, request).await
}

/// Likewise, in one protocol or the other.
pub async fn send_over(
    protocol: &Protocol,
    address: SocketAddr,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        match protocol {
            Protocol::Http1 => http1(stream, request).await,
            Protocol::Http2 => http2(stream, "http", request).await,
            Protocol::Tls(config) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect("localhost".try_into()?, stream).await?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => http2(stream, "https", request).await,
                    _ => http1(stream, request).await,
                }
            }
        }
    };
    timeout(PATIENCE, exchange).await?
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let reply = collect(sender.send_request(request).await?).await?;
    drop(sender);
    let _ = connection.await;
    Ok(reply)
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    scheme: &str,
    mut request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    // The host goes where HTTP/2 has it.
    if let Some(host) = request.headers_mut().remove("host") {
        let path = request.uri().path_and_query().map(PathAndQuery::as_str);
        *request.uri_mut() = Uri::builder()
            .scheme(scheme)
            .authority(host.as_bytes())
            .path_and_query(path.unwrap_or("/"))
            .build()?;
    }
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let reply = collect(sender.send_request(request).await?).await?;
    drop(sender);
    let _ = connection.await;
    Ok(reply)
}

async fn collect(
    response: http::Response<hyper::body::Incoming>,
) -> Result<Reply, Box<dyn Error + Send + Sync>> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    })
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

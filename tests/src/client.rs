//! The HTTP client of the suites: one request on a connection of its own, over HTTP/1.1,
//! HTTP/2, or TLS; and [`Connection`] for several requests.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A response, read to its end.
#[derive(Clone, Debug)]
pub struct ReceivedResponse {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl ReceivedResponse {
    /// Returns the `hookgate-outcome` header, which marks responses of the gateway itself.
    pub fn outcome(&self) -> Option<&str> {
        self.headers
            .get("hookgate-outcome")
            .and_then(|value| value.to_str().ok())
    }
}

/// The protocol of a request.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    Http1,
    /// HTTP/2 without TLS, with prior knowledge.
    Http2,
    /// TLS; the protocols that the settings offer by ALPN decide.
    Tls(Arc<ClientConfig>),
}

/// A connection over HTTP/1.1 that several requests use, one after the other.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<BoxBody<Bytes, std::io::Error>>,
}

impl Connection {
    /// Connects to `address`.
    pub async fn open(address: SocketAddr) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let stream = TcpStream::connect(address).await?;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender })
    }

    /// Returns whether the server has not closed the connection.
    pub fn is_open(&mut self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends `request`, which is never repeated.
    pub async fn send(
        &mut self,
        request: Request<BoxBody<Bytes, std::io::Error>>,
    ) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
        let exchange = async {
            self.sender.ready().await?;
            collect(self.sender.send_request(request).await?).await
        };
        timeout(RESPONSE_TIMEOUT, exchange).await?
    }
}

/// Sends `request` to `address` over HTTP/1.1 on a connection of its own.
pub async fn send(
    address: SocketAddr,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> ReceivedResponse {
    try_send(address, request)
        .await
        .expect("the server responds")
}

/// Sends `request` with its body in memory, and with a `Host` header, as [`send`] does.
pub async fn send_bytes(address: SocketAddr, mut request: Request<Bytes>) -> ReceivedResponse {
    let host = HeaderValue::from_static("hooks.example");
    request.headers_mut().insert("host", host);
    let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed());
    send(address, request).await
}

/// Sends `request` as [`send`] does, to a server that may be down.
pub async fn try_send(
    address: SocketAddr,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
    send_over(&Protocol::Http1, address, request).await
}

/// Sends `request` to `address` over `protocol`, on a connection of its own.
pub async fn send_over(
    protocol: &Protocol,
    address: SocketAddr,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
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
    timeout(RESPONSE_TIMEOUT, exchange).await?
}

async fn http1(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let response = collect(sender.send_request(request).await?).await?;
    drop(sender);
    let _ = connection.await;
    Ok(response)
}

async fn http2(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    scheme: &str,
    mut request: Request<BoxBody<Bytes, std::io::Error>>,
) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
    // HTTP/2 carries the host in `:authority` (RFC 9113 §8.3.1).
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
    let response = collect(sender.send_request(request).await?).await?;
    drop(sender);
    let _ = connection.await;
    Ok(response)
}

async fn collect(
    response: http::Response<hyper::body::Incoming>,
) -> Result<ReceivedResponse, Box<dyn Error + Send + Sync>> {
    let (head, body) = response.into_parts();
    let body = body.collect().await?;
    Ok(ReceivedResponse {
        status: head.status,
        headers: head.headers,
        trailers: body.trailers().cloned(),
        body: body.to_bytes(),
    })
}

/// Writes `bytes` unchanged, then reads until the server closes the connection, or has responded
/// and then sends nothing for `quiet`. If `quiet` is zero, it reads nothing.
pub async fn send_raw(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    // A server that refuses a request early may close the connection before it reads everything.
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    if quiet.is_zero() {
        return response;
    }
    let mut buffer = [0; 4096];
    // A loaded machine may need long for the first byte.
    let mut limit = RESPONSE_TIMEOUT;
    while let Ok(Ok(read @ 1..)) = timeout(limit, stream.read(&mut buffer)).await {
        response.extend_from_slice(&buffer[..read]);
        limit = quiet;
    }
    response
}

/// Returns the response of an admin address at `path`, head and body.
pub async fn get_admin(address: SocketAddr, path: &str) -> String {
    get_admin_with(address, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n")).await
}

/// Returns the response of an admin address to a request with this head, which has no end yet.
pub async fn get_admin_with(address: SocketAddr, head: &str) -> String {
    let request = format!("{head}Connection: close\r\n\r\n");
    let response = send_raw(address, request.as_bytes(), RESPONSE_TIMEOUT).await;
    String::from_utf8(response).expect("the response is UTF-8")
}

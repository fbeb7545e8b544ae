//! The HTTP/1.1 client of `hookgate send` and `hookgate demo`.

use std::net::ToSocketAddrs;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use pingora_core::connectors::http::v1::Connector;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::RequestHeader;
use tokio::time::timeout;

use super::Error;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends deliveries to one URL, each on a new connection.
pub(super) struct Client {
    connector: Connector,
    peer: HttpPeer,
    host: String,
    target: String,
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The request has a `content-length`.
    Length,
    /// The request has chunks of this many bytes.
    Chunked(usize),
}

/// The response to a delivery.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Client {
    /// Creates a client for an `http://` or `https://` URL.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL has another scheme, or if its host does not resolve.
    pub(super) fn new(to: &Uri) -> Result<Self, Error> {
        let tls = match to.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(Error::new(
                    "--to: expected a URL that starts with http:// or https://",
                ));
            }
        };
        let host = to
            .host()
            .ok_or_else(|| Error::new("--to: the URL has no host"))?;
        let port = to.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let address = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .map_err(|error| Error::new(format!("{host} does not resolve: {error}")))?
            .next()
            .ok_or_else(|| Error::new(format!("{host} resolves to no address")))?;
        Ok(Self {
            connector: Connector::new(None),
            peer: HttpPeer::new(address, tls, host.to_owned()),
            // The `Host` header must not contain a user name and password from the URL.
            host: match to.port_u16() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            target: to
                .path_and_query()
                .map_or("/", |target| target.as_str())
                .to_owned(),
        })
    }

    /// Posts `body` with `headers`.
    pub(super) async fn post(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        framing: Framing,
    ) -> Result<Reply, Error> {
        self.exchange_in_time(&Method::POST, headers, body, framing)
            .await
    }

    /// Sends `request` to the URL of the client. The target of `request` is ignored.
    pub(super) async fn send(
        &self,
        request: &Request<Bytes>,
        framing: Framing,
    ) -> Result<Reply, Error> {
        self.exchange_in_time(request.method(), request.headers(), request.body(), framing)
            .await
    }

    async fn exchange_in_time(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
        framing: Framing,
    ) -> Result<Reply, Error> {
        match timeout(TIMEOUT, self.exchange(method, headers, body, framing)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(Error::new(format!(
                "cannot send to {}: {}",
                self.host,
                error.root_cause()
            ))),
            Err(_) => Err(Error::new(format!(
                "no response from {} within {TIMEOUT:?}",
                self.host
            ))),
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
        framing: Framing,
    ) -> pingora_core::Result<Reply> {
        let mut request = RequestHeader::build(
            method.as_str(),
            self.target.as_bytes(),
            Some(headers.len() + 4),
        )?;
        request.insert_header(HOST, self.host.as_str())?;
        match framing {
            Framing::Length => request.insert_header(CONTENT_LENGTH, body.len())?,
            Framing::Chunked(_) => request.insert_header(TRANSFER_ENCODING, "chunked")?,
        }
        if !headers.contains_key(http::header::CONTENT_TYPE) {
            request.insert_header(http::header::CONTENT_TYPE, "application/json")?;
        }
        for (name, value) in headers {
            request.append_header(name.clone(), value.clone())?;
        }
        let (mut session, _) = self.connector.get_http_session(&self.peer).await?;
        session.write_request_header(Box::new(request)).await?;
        // A receiver may respond and close the connection before it has read the whole body. The
        // response then matters more than the write error.
        let written = async {
            match framing {
                Framing::Length => {
                    session.write_body(body).await?;
                }
                Framing::Chunked(size) => {
                    for chunk in body.chunks(size) {
                        session.write_body(chunk).await?;
                    }
                }
            }
            session.finish_body().await
        };
        let written = written.await;
        if let Err(unread) = session.read_response().await {
            return Err(written.err().unwrap_or(unread));
        }
        let head = session.resp_header().ok_or_else(|| {
            pingora_core::Error::explain(pingora_core::ErrorType::ReadError, "no response")
        })?;
        Ok(Reply {
            status: head.status,
            headers: head.headers.clone(),
        })
    }
}

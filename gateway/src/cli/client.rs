//! A client for `send` and `demo`, on the same connections as the gateway's
//! upstreams.

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

/// Posts deliveries to one address.
pub(super) struct Client {
    connector: Connector,
    peer: HttpPeer,
    host: String,
    target: String,
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    /// Chunks of this many bytes.
    Chunked(usize),
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Client {
    /// A client for `http://` and `https://` addresses.
    pub(super) fn new(to: &Uri) -> Result<Self, Error> {
        let tls = match to.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(Error::new("--to: expected an http:// or https:// address"));
            }
        };
        let host = to
            .host()
            .ok_or_else(|| Error::new("--to: expected a host"))?;
        let port = to.port_u16().unwrap_or(if tls { 443 } else { 80 });
        let address = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| Error::new(format!("{host} does not resolve")))?;
        Ok(Self {
            connector: Connector::new(None),
            peer: HttpPeer::new(address, tls, host.to_owned()),
            // Without user and password, which are nobody's business.
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

    /// Posts `body` with `headers`, each time on a connection of its own.
    pub(super) async fn post(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        framing: Framing,
    ) -> Result<Reply, Error> {
        self.exchange_in_time(&Method::POST, headers, body, framing)
            .await
    }

    /// Sends `request` to the client's own target.
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
        const PATIENCE: Duration = Duration::from_secs(30);
        match timeout(PATIENCE, self.exchange(method, headers, body, framing)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(Error::new(format!("{}: {error}", self.host))),
            Err(_) => Err(Error::new(format!("{}: no answer within 30 s", self.host))),
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
        // A receiver may answer and close before it has read everything; its
        // answer counts, not that the rest could not be written.
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
            pingora_core::Error::explain(pingora_core::ErrorType::ReadError, "no answer")
        })?;
        Ok(Reply {
            status: head.status,
            headers: head.headers.clone(),
        })
    }
}

//! A client over hyper and rustls.
//!
//! Requests are rare, so each has a connection of its own. A client with many requests can reuse
//! connections. The host is resolved once for a connection, and the address that was checked is the
//! address that is connected to. A second answer of the DNS therefore cannot lead to another
//! address. Several addresses of a host are tried in turn, and a silent address does not delay the
//! others for long. Redirects are not followed.

mod first_address;
mod idle;
mod public_address;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use self::first_address::connect_first;
use self::idle::{Connection, IdleConnections};
use self::public_address::is_public;
use crate::address::Address;
use crate::fetch::{Document, DocumentRequest, FetchDocument, FetchError, FetchFuture};

/// The most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 4;

/// The longest body of an error that is read to reuse its connection, in bytes.
const MAX_ERROR: u64 = 4096;

/// The addresses that a client may connect to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Public addresses alone: a name that leads into the own network is refused.
    #[default]
    Public,
    /// Every address. Use this only for a host that the operator has written.
    Any,
}

/// Fetches documents over HTTPS.
pub struct HttpsClient {
    tls: TlsConnector,
    policy: AddressPolicy,
    /// `None`: each request has a connection of its own.
    idle: Option<IdleConnections>,
}

impl HttpsClient {
    /// Creates a client. It trusts the roots of the web, or `roots` instead of them.
    ///
    /// # Errors
    ///
    /// Returns a [`TlsError`] if one of `roots` is not a certificate of an authority.
    pub fn new(
        policy: AddressPolicy,
        roots: Option<&[CertificateDer<'static>]>,
    ) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        match roots {
            None => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            Some(roots) => {
                for root in roots {
                    store.add(root.clone()).map_err(TlsError)?;
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError)?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            policy,
            idle: None,
        })
    }

    /// Keeps connections for later requests to the same host, for up to a minute.
    ///
    /// A connection that the host closes meanwhile costs nothing: a GET request is sent again on a
    /// new one.
    #[must_use]
    pub fn reusing_connections(mut self) -> Self {
        self.idle = Some(IdleConnections::default());
        self
    }

    async fn exchange(&self, request: &DocumentRequest) -> Result<Document, FetchError> {
        let idle = self.idle.as_ref();
        let idle = idle.filter(|_| request.method == Method::GET);
        if let Some(connection) = idle.and_then(|idle| idle.take(&request.address)) {
            match self.send(connection, request).await {
                // The host may have closed the connection.
                Err(FetchError::Unreachable(_)) => {}
                result => return result,
            }
        }
        let connection = self.connect(&request.address).await?;
        self.send(connection, request).await
    }

    async fn connect(&self, address: &Address) -> Result<Connection, FetchError> {
        let addresses = self.resolve(address).await?;
        if !address.is_tls() {
            return start(connect_first(addresses, connect).await?, address).await;
        }
        let name = ServerName::try_from(address.host().to_owned()).map_err(unreachable)?;
        // The handshake belongs to the attempt: an address can accept connections and then be
        // silent.
        let stream = connect_first(addresses, |address| {
            let (tls, name) = (self.tls.clone(), name.clone());
            async move {
                let stream = connect(address).await?;
                tls.connect(name, stream).await.map_err(unreachable)
            }
        });
        start(stream.await?, address).await
    }

    /// Sends `request` over `connection` and reads the response.
    async fn send(
        &self,
        mut connection: Connection,
        request: &DocumentRequest,
    ) -> Result<Document, FetchError> {
        connection.sender.ready().await.map_err(unreachable)?;
        let response = connection.sender.send_request(head(request)?);
        let response = response.await.map_err(unreachable)?;
        let (status, max_age) = (response.status(), max_age(response.headers()));
        let body = response.into_body();
        if status != StatusCode::OK {
            // Only the whole body leaves a connection for the next request.
            let is_short = body.size_hint().exact().is_some_and(|len| len <= MAX_ERROR);
            if is_short && self.idle.is_some() && read(body, request.max_len).await.is_ok() {
                self.keep(connection);
            }
            return Err(FetchError::Status(status));
        }
        let body = read(body, request.max_len).await?;
        self.keep(connection);
        Ok(Document { body, max_age })
    }

    fn keep(&self, connection: Connection) {
        if let Some(idle) = &self.idle {
            idle.put(connection);
        }
    }

    /// Returns the addresses of the host that the policy allows.
    async fn resolve(&self, address: &Address) -> Result<Vec<SocketAddr>, FetchError> {
        let target = (address.host(), address.port());
        let found = tokio::net::lookup_host(target).await.map_err(unreachable)?;
        let allowed = |address: &SocketAddr| self.policy.allows(address.ip());
        Ok(found.filter(allowed).take(MAX_ADDRESSES).collect())
    }
}

impl FetchDocument for HttpsClient {
    fn fetch<'r>(&'r self, request: &'r DocumentRequest) -> FetchFuture<'r> {
        Box::pin(self.exchange(request))
    }
}

impl AddressPolicy {
    fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Any => true,
        }
    }
}

impl fmt::Debug for HttpsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsClient")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, FetchError> {
    TcpStream::connect(address).await.map_err(unreachable)
}

/// Starts HTTP/1 on `stream`.
async fn start<S>(stream: S, address: &Address) -> Result<Connection, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(64 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(unreachable)?;
    let task = tokio::spawn(async move {
        // An error of the connection is also one of the request.
        let _: Result<(), hyper::Error> = connection.await;
    });
    Ok(Connection::new(sender, address, task))
}

fn head(request: &DocumentRequest) -> Result<Request<Full<Bytes>>, FetchError> {
    let mut head = Request::new(Full::new(request.body.clone()));
    *head.method_mut() = request.method.clone();
    *head.uri_mut() = request.address.path().parse().map_err(unreachable)?;
    *head.headers_mut() = request.headers.clone();
    let host = HeaderValue::try_from(request.address.authority()).map_err(unreachable)?;
    head.headers_mut().insert(HOST, host);
    Ok(head)
}

/// Reads a body of at most `max_len` bytes.
async fn read(mut body: Incoming, max_len: usize) -> Result<Bytes, FetchError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(unreachable)?.into_data() {
            if data.len() > max_len - read.len() {
                return Err(FetchError::TooLarge);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(read.freeze())
}

/// Returns the age that a response states: `max-age`, or zero with `no-store` or `no-cache`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut age = None;
    for directive in directives {
        let directive = directive.trim().to_ascii_lowercase();
        if matches!(&*directive, "no-store" | "no-cache") {
            return Some(Duration::ZERO);
        }
        if let Some(seconds) = directive.strip_prefix("max-age=") {
            age = seconds.parse().ok().map(Duration::from_secs);
        }
    }
    age
}

fn unreachable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchError {
    let error = error.into();
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::TimedOut) => FetchError::TimedOut,
        _ => FetchError::Unreachable(error),
    }
}

/// The client cannot be set up for TLS.
#[derive(Debug)]
pub struct TlsError(rustls::Error);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the certificates of the trusted authorities cannot be used")
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

//! The HTTP/1.1 client of the commands that send requests: `send`, `conform`, `demo`, `reload` and
//! `events`.

mod error;

use std::net::ToSocketAddrs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request, StatusCode, Uri};
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::v1::Connector;
use pingora_core::protocols::http::v1::client::HttpSession;
use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_http::RequestHeader;
use tokio::time::timeout;

pub(super) use self::error::{ClientError, ConnectFault};
use super::Error;

/// How long a connection may take. Also how long a request may take up to the head of its response,
/// unless the command has another limit.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A file without certificates, for servers without TLS.
const NO_CERTIFICATES: &str = "/dev/null";

/// How long a sender waits that hangs up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the body of a response may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// The certificates that the client accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Certificates of the authorities that the system trusts.
    System,
    /// Certificates of the authorities in a file.
    Authorities(PathBuf),
    /// Every certificate. pingora needs some authorities even so: those of a file, or of the system.
    Anything(Option<PathBuf>),
}

/// Sends requests to one server, each on a new connection.
pub(super) struct Client {
    connector: Connector,
    /// The addresses of the server, which are tried in this order.
    peers: Vec<HttpPeer>,
    /// The host of the URL, with its port if the URL has one.
    host: String,
    named: NamedHost,
    timeout: Duration,
}

/// The host that the `Host` header of a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NamedHost {
    OfUrl,
    /// The IP address of the server.
    Address,
}

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// The request has no body and no header that describes one.
    NoBody,
    /// The request has a `content-length`.
    Length,
    /// The request has chunks of this many bytes.
    Chunked(usize),
    /// The request has a `content-length`. The second half of its body follows after a pause.
    Halves(Duration),
}

/// A response, whose body is still to be read.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    session: HttpSession,
    host: String,
}

impl Client {
    /// Creates a client for the server of an `http://` or `https://` URL. `option` is the option
    /// with the URL.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL has another scheme, or if its host does not resolve.
    pub(super) fn new(to: &Uri, option: &str, trust: &Trust) -> Result<Self, Error> {
        let tls = match to.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => {
                return Err(Error::new(format!(
                    "{option}: expected a URL that starts with http:// or https://"
                )));
            }
        };
        let host = to
            .host()
            .ok_or_else(|| Error::new(format!("{option}: the URL has no host")))?;
        let port = port(to, option)?.unwrap_or(if tls { 443 } else { 80 });
        let peers: Vec<HttpPeer> = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .map_err(|error| Error::new(format!("{host} does not resolve: {error}")))?
            .map(|address| {
                let mut peer = HttpPeer::new(address, tls, host.to_owned());
                peer.options.total_connection_timeout = Some(TIMEOUT);
                peer.options.verify_cert = !matches!(trust, Trust::Anything(_));
                peer
            })
            .collect();
        if peers.is_empty() {
            return Err(Error::new(format!("{host} resolves to no address")));
        }
        Ok(Self {
            connector: connector(tls, trust)?,
            peers,
            // The `Host` header must not contain a user name and password from the URL.
            host: match to.port_u16() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            },
            named: NamedHost::OfUrl,
            timeout: TIMEOUT,
        })
    }

    /// Sets how long a request may take up to the head of its response.
    pub(super) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Names the IP address of the server in the `Host` header, in place of the host of the URL.
    pub(super) fn name_address(self) -> Self {
        let named = NamedHost::Address;
        Self { named, ..self }
    }

    /// Sends `request`, and waits for the head of the response. Of the URI of `request`, only the
    /// path and the query are used.
    pub(super) async fn send(
        &self,
        request: &Request<Bytes>,
        framing: Framing,
    ) -> Result<Reply, ClientError> {
        let exchange = timeout(self.timeout, self.exchange(request, framing)).await;
        exchange.unwrap_or_else(|_| {
            Err(ClientError::TimedOut {
                host: self.host.clone(),
                after: self.timeout,
            })
        })
    }

    /// Sends `request`, and closes the connection at the response, which is lost. A server that takes
    /// longer than [`PATIENCE`] loses its sender earlier.
    pub(super) async fn send_and_hang_up(
        &self,
        request: &Request<Bytes>,
    ) -> Result<(), ClientError> {
        let (mut session, written) = self.write_request(request, Framing::Length).await?;
        written.map_err(|error| ClientError::broken(&self.host, &error))?;
        // A server can ignore a request whose sender is gone before the server has read it.
        let _lost = timeout(PATIENCE, read_head(&mut session)).await;
        Ok(())
    }

    async fn exchange(
        &self,
        request: &Request<Bytes>,
        framing: Framing,
    ) -> Result<Reply, ClientError> {
        let (mut session, written) = self.write_request(request, framing).await?;
        // A receiver may respond and close the connection before it has read the whole body. The
        // response then matters more than the write error.
        let (status, headers) = match (read_head(&mut session).await, written) {
            (Ok(head), _) => head,
            (Err(_), Err(error)) | (Err(error), Ok(())) => {
                return Err(ClientError::broken(&self.host, &error));
            }
        };
        Ok(Reply {
            status,
            headers,
            session,
            host: self.host.clone(),
        })
    }

    /// Connects, and writes `request`. The second value is the result of the write.
    async fn write_request(
        &self,
        request: &Request<Bytes>,
        framing: Framing,
    ) -> Result<(HttpSession, pingora_core::Result<()>), ClientError> {
        let (mut session, peer) = self.connect().await?;
        let head = self.head(request, framing, peer);
        let head = head.map_err(|error| ClientError::broken(&self.host, &error))?;
        let written = write(&mut session, head, request.body(), framing).await;
        Ok((session, written))
    }

    async fn connect(&self) -> Result<(HttpSession, &HttpPeer), ClientError> {
        let mut failed = ClientError::Broken {
            host: self.host.clone(),
            cause: "the host has no address".to_owned(),
        };
        for peer in &self.peers {
            match self.connector.get_http_session(peer).await {
                Ok((session, _)) => return Ok((session, peer)),
                Err(error) => {
                    failed = match peer.address().as_inet() {
                        Some(address) => ClientError::Unreachable {
                            address: *address,
                            fault: ConnectFault::of(&error),
                        },
                        None => ClientError::broken(&self.host, &error),
                    };
                }
            }
        }
        Err(failed)
    }

    fn head(
        &self,
        request: &Request<Bytes>,
        framing: Framing,
        peer: &HttpPeer,
    ) -> pingora_core::Result<RequestHeader> {
        let (method, headers) = (request.method(), request.headers());
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let mut head =
            RequestHeader::build(method.as_str(), target.as_bytes(), Some(headers.len() + 4))?;
        match self.named {
            NamedHost::OfUrl => head.insert_header(HOST, self.host.as_str())?,
            NamedHost::Address => head.insert_header(HOST, peer.address().to_string())?,
        }
        match framing {
            Framing::NoBody => {}
            Framing::Length | Framing::Halves(_) => {
                head.insert_header(CONTENT_LENGTH, request.body().len())?;
            }
            Framing::Chunked(_) => head.insert_header(TRANSFER_ENCODING, "chunked")?,
        }
        if framing != Framing::NoBody && !headers.contains_key(CONTENT_TYPE) {
            head.insert_header(CONTENT_TYPE, "application/json")?;
        }
        for (name, value) in headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok(head)
    }
}

/// Reads the URL of an option.
///
/// # Errors
///
/// Returns the expected form if the text is no URL with a host that starts with `http://` or
/// `https://`.
pub(super) fn parse_url(text: &str) -> Result<Uri, &'static str> {
    const EXPECTED: &str =
        "expected a URL that starts with http:// or https://, such as http://127.0.0.1:3000/hooks";
    let url: Uri = text.parse().map_err(|_| EXPECTED)?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(url),
        _ => Err(EXPECTED),
    }
}

/// Returns the port of a URL. `http` reads no port in a URL whose port is no number of 16 bits.
fn port(to: &Uri, option: &str) -> Result<Option<u16>, Error> {
    let authority = to.authority().map_or("", |authority| authority.as_str());
    let host = to.host().unwrap_or_default();
    let port = to.port_u16();
    match port.is_none() && !authority.ends_with(host) {
        true => Err(Error::new(format!(
            "{option}: expected a URL whose port is at most 65535"
        ))),
        false => Ok(port),
    }
}

/// Creates the connector. pingora panics if the certificates cannot be read.
fn connector(tls: bool, trust: &Trust) -> Result<Connector, Error> {
    let mut options = ConnectorOptions::new(1);
    options.ca_file = match trust {
        _ if !tls => Some(NO_CERTIFICATES.to_owned()),
        Trust::Authorities(path) | Trust::Anything(Some(path)) => Some(path.display().to_string()),
        Trust::System | Trust::Anything(None) => None,
    };
    let created = catch_unwind(AssertUnwindSafe(|| Connector::new(Some(options))));
    created.map_err(|_| {
        Error::new(
            "the certificates of the system cannot be read; expected the package ca-certificates, \
             or --ca FILE",
        )
    })
}

async fn write(
    session: &mut HttpSession,
    head: RequestHeader,
    body: &[u8],
    framing: Framing,
) -> pingora_core::Result<()> {
    session.write_request_header(Box::new(head)).await?;
    match framing {
        Framing::NoBody => {}
        Framing::Length => {
            session.write_body(body).await?;
        }
        Framing::Chunked(size) => {
            for chunk in body.chunks(size) {
                session.write_body(chunk).await?;
            }
        }
        Framing::Halves(pause) => {
            let (first, second) = body.split_at(body.len() / 2);
            session.write_body(first).await?;
            tokio::time::sleep(pause).await;
            session.write_body(second).await?;
        }
    }
    session.finish_body().await.map(|_| ())
}

async fn read_head(session: &mut HttpSession) -> pingora_core::Result<(StatusCode, HeaderMap)> {
    session.read_response().await?;
    let head = session.resp_header().ok_or_else(|| {
        pingora_core::Error::explain(pingora_core::ErrorType::ReadError, "no response")
    })?;
    Ok((head.status, head.headers.clone()))
}

impl Reply {
    /// Reads the rest of the body.
    ///
    /// # Errors
    ///
    /// Returns [`ClientError::TooLarge`] if the body has more than `limit` bytes,
    /// [`ClientError::TimedOut`] if it does not end in time, and [`ClientError::Broken`] if the
    /// connection fails.
    pub(super) async fn body(mut self, limit: usize) -> Result<Vec<u8>, ClientError> {
        let host = self.host.clone();
        let read = async {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await? {
                if body.len() + chunk.len() > limit {
                    let host = self.host.clone();
                    return Err(ClientError::TooLarge { host, limit });
                }
                body.extend_from_slice(&chunk);
            }
            Ok(body)
        };
        let after = BODY_TIMEOUT;
        let read = timeout(after, read).await;
        read.unwrap_or(Err(ClientError::TimedOut { host, after }))
    }

    /// Reads the next bytes of the body, without a deadline. Returns `None` at its end.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let read = self.session.read_body_bytes().await;
        read.map_err(|error| ClientError::broken(&self.host, &error))
    }
}

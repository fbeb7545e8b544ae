//! pingora's byte streams and errors, as the listener and the upstream side use them.

use std::error::Error;
use std::fmt;

use hookgate_http1::{Connection, Transport};
use pingora_core::protocols::Stream;

/// Creates an HTTP/1 connection on a stream of pingora.
pub(crate) fn http1_connection(stream: Stream) -> Connection<Stream> {
    let transport = match stream.get_ssl_digest() {
        Some(_) => Transport::Tls,
        None => Transport::Plain,
    };
    Connection::new(stream, transport)
}

/// Returns why a TLS handshake failed, in the words of rustls. Returns `None` for other errors.
///
/// pingora has these words only in its own text, between a cause and the name of the server. The
/// root cause is the local address.
pub(crate) fn handshake_fault(error: &pingora_core::Error) -> Option<&str> {
    let text = error.context.as_ref()?.as_str();
    let text = text.strip_prefix("TLS connect() failed: ")?;
    let (text, _server) = text.rsplit_once(", SNI: ")?;
    let fault = text.split_once("cause: ").map_or(text, |(_, fault)| fault);
    Some(fault.trim())
}

/// An error of pingora that is safe to log.
///
/// pingora's own text quotes the bytes of a message that it cannot parse. This type shows
/// the kind of the error and its root cause only.
#[derive(Debug)]
pub(crate) struct TransportError(Box<pingora_core::Error>);

impl TransportError {
    /// Returns the cause at the root, unless it is an error of pingora or a part of the text.
    pub(crate) fn root_cause(&self) -> Option<&(dyn Error + 'static)> {
        let root = self.0.root_cause();
        match root.is::<pingora_core::Error>() || handshake_fault(&self.0).is_some() {
            true => None,
            false => Some(root),
        }
    }
}

impl From<Box<pingora_core::Error>> for TransportError {
    fn from(error: Box<pingora_core::Error>) -> Self {
        Self(error)
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.0.etype().as_str();
        match handshake_fault(&self.0) {
            Some(fault) => write!(f, "{kind}: {fault}"),
            None => f.write_str(kind),
        }
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.root_cause()
    }
}

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

/// An error of pingora that is safe to log.
///
/// pingora's own text quotes the bytes of a message that it cannot parse. This type shows
/// the kind of the error and its root cause only.
#[derive(Debug)]
pub(crate) struct TransportError(Box<pingora_core::Error>);

impl TransportError {
    /// Returns the cause at the root, unless it is an error of pingora.
    pub(crate) fn root_cause(&self) -> Option<&(dyn Error + 'static)> {
        let root = self.0.root_cause();
        match root.is::<pingora_core::Error>() {
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
        f.write_str(self.0.etype().as_str())
    }
}

impl Error for TransportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.root_cause()
    }
}

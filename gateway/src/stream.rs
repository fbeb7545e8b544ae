//! pingora's byte streams and errors, as the listener and the upstream side use them.

use std::net::IpAddr;

use hookgate_http1::{Connection, Transport};
use pingora_core::Error;
use pingora_core::protocols::Stream;

/// Wraps a stream of pingora for reading and writing messages.
pub(crate) fn connection(stream: Stream) -> Connection<Stream> {
    let transport = match stream.get_ssl_digest() {
        Some(_) => Transport::Tls,
        None => Transport::Plain,
    };
    Connection::new(stream, transport)
}

/// Whose a connection is, as far as is known.
pub(crate) fn client(stream: &Stream) -> Option<IpAddr> {
    let digest = stream.get_socket_digest()?;
    Some(digest.peer_addr()?.as_inet()?.ip())
}

/// What went wrong, for the log: without what the other side has sent, which pingora
/// puts into what it says of an answer that it cannot read.
pub(crate) fn error_for_log(error: &Error) -> String {
    let kind = error.etype().as_str();
    let root = error.root_cause();
    if root.is::<Error>() {
        kind.to_owned()
    } else {
        format!("{kind}: {root}")
    }
}

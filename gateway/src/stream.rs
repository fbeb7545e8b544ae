//! pingora's byte streams and errors, as the listener and the upstream side use them.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use hookgate_http1::{Connection, Transport};
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;

/// Creates an HTTP/1 connection on a stream of pingora.
pub(crate) fn http1_connection(stream: Stream) -> Connection<Stream> {
    let transport = match stream.get_ssl_digest() {
        Some(_) => Transport::Tls,
        None => Transport::Plain,
    };
    Connection::new(stream, transport)
}

/// The host at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Ip(IpAddr),
    /// A process on this machine, on a Unix socket.
    Unix,
    /// The connection has ended.
    Unknown,
}

impl Peer {
    /// Creates the peer with the address that pingora knows.
    pub(crate) fn new(address: Option<&PeerAddr>) -> Self {
        match address {
            Some(PeerAddr::Inet(address)) => Self::Ip(address.ip()),
            Some(PeerAddr::Unix(_)) => Self::Unix,
            None => Self::Unknown,
        }
    }

    /// Returns the peer of a connection. Behind a load balancer that speaks the PROXY protocol
    /// this is the client, once the header has been read.
    pub(crate) fn of(stream: &Stream) -> Self {
        let digest = stream.get_socket_digest();
        Self::new(digest.as_ref().and_then(|digest| digest.peer_addr()))
    }

    /// Returns the IP address, if the peer has one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Unix | Self::Unknown => None,
        }
    }
}

/// Returns the IP address of the peer. Behind a load balancer that speaks the PROXY protocol
/// this is the address of the client, once the header has been read.
pub(crate) fn peer_address(stream: &Stream) -> Option<IpAddr> {
    Peer::of(stream).ip()
}

/// Returns the network that one client controls: an IPv4 address or an IPv6 /64.
pub(crate) fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            const PREFIX: u128 = u128::MAX << 64;
            Ipv6Addr::from_bits(address.to_bits() & PREFIX).into()
        }
        address => address,
    }
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

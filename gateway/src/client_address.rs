//! The address of a client, as limits, logs and the inspector know it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hookgate_core::internal::client_network;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The text of [`ClientAddress::Unix`].
const UNIX: &str = "unix";

/// The address of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientAddress {
    Ip(IpAddr),
    /// A process of this machine that uses a Unix socket. Such processes have no addresses, so
    /// all limits treat them as one client.
    Unix,
}

impl ClientAddress {
    /// Returns the address of the peer. Behind a load balancer that speaks the PROXY protocol
    /// this is the address of the client, once the header has been read.
    pub(crate) fn of_peer(stream: &Stream) -> Option<Self> {
        stream.get_socket_digest()?.peer_addr().map(Self::of_socket)
    }

    /// Returns the address of the client at the other end of a socket.
    pub(crate) fn of_socket(peer: &PeerAddr) -> Self {
        match peer {
            PeerAddr::Inet(address) => Self::Ip(address.ip()),
            PeerAddr::Unix(_) => Self::Unix,
        }
    }

    /// Returns the IP address, if the client has one.
    pub(crate) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Unix => None,
        }
    }

    /// Returns the network that one client controls.
    pub(crate) fn network(self) -> Self {
        match self {
            Self::Ip(address) => Self::Ip(client_network(address)),
            Self::Unix => Self::Unix,
        }
    }
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

impl FromStr for ClientAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            UNIX => Ok(Self::Unix),
            _ => text.parse().map(Self::Ip),
        }
    }
}

impl Serialize for ClientAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

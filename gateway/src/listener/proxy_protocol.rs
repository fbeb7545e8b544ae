//! Accepts the PROXY protocol header, with which a load balancer names the client of a
//! connection.
//!
//! Rate limits and the log use the address in this header, so the header is accepted from the
//! configured networks only. Connections from these networks must have a header. Without that
//! rule, a client that bypasses the balancer would be taken for the balancer.

use std::sync::Arc;

use pingora_core::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora_core::protocols::{SocketDigest, Stream};

use crate::client_address::ClientAddress;
use crate::config::Network;
use crate::gateway::Gateway;
use crate::listener::proxy_header::{ProxyHeader, read_header};
use crate::listener::refused_connection::ConnectionRefusal;

/// The networks of the load balancers that send the PROXY protocol.
#[derive(Clone, Debug)]
pub(crate) struct ProxyProtocolPeers(Arc<[Network]>);

impl ProxyProtocolPeers {
    /// Returns `None` if there are no networks: clients then connect to the gateway directly.
    pub(crate) fn new(networks: &[Network]) -> Option<Self> {
        (!networks.is_empty()).then(|| Self(networks.into()))
    }

    /// Reads the header of a connection, and makes the client in it the peer of the stream.
    /// Returns `None` if the connection is refused.
    pub(crate) async fn accept(&self, gateway: &Gateway, mut stream: Stream) -> Option<Stream> {
        let balancer = ClientAddress::of_peer(&stream)?;
        let is_allowed = |address| self.0.iter().any(|network| network.contains(address));
        if !balancer.ip().is_some_and(is_allowed) {
            let refusal = ConnectionRefusal::NotABalancer;
            gateway.refuse_connection(refusal, Some(balancer), None);
            return None;
        }
        let header = match read_header(&mut stream).await {
            Ok(header) => header,
            Err(error) => {
                let refusal = ConnectionRefusal::NoProxyHeader;
                gateway.refuse_connection(refusal, Some(balancer), Some(&error));
                return None;
            }
        };
        if let ProxyHeader::Client(client) = header {
            let digest = SocketDigest::from_raw_fd(stream.id());
            // The digest is new, so its address is unset.
            let _: Result<(), _> = digest.peer_addr.set(Some(PeerAddr::Inet(client)));
            stream.set_socket_digest(digest);
        }
        Some(stream)
    }
}

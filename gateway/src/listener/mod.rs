//! Accepts connections of senders: binds sockets, limits and refuses connections, reads the
//! PROXY protocol, negotiates TLS, and passes HTTP/1 and HTTP/2 requests to the pipeline.

pub(crate) mod bind;
pub(crate) mod connection;
pub(crate) mod connection_limits;
pub(crate) mod connection_table;
pub(crate) mod eviction;
pub(crate) mod framing;
pub(crate) mod http1;
pub(crate) mod http2;
mod proxy_header;
pub(crate) mod proxy_protocol;
pub(crate) mod refused_connection;
mod socket_file;
mod sockets;
pub(crate) mod timeouts;
pub(crate) mod tls;
mod unix_service;

pub(crate) use self::bind::{BoundService, bind};
pub(crate) use self::connection::{Listener, ListenerKind};
pub(crate) use self::proxy_protocol::ProxyProtocolPeers;
pub(crate) use self::sockets::{InheritedSocket, ListeningSockets, SocketOpener};
pub(crate) use self::unix_service::UnixService;

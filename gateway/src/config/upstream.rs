//! The configuration of an upstream: its servers, timeouts, load balancing and health check.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::internal::duration_text;

use super::TransportAddress;
use crate::upstream::tls::ClientFiles;

/// An upstream: the servers that get the deliveries of one or more sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamConfig {
    /// The servers; the list is not empty.
    pub(crate) servers: Vec<ServerAddress>,
    pub(crate) protocol: HttpVersion,
    pub(crate) tls: ClientFiles,
    pub(crate) balance: Balance,
    pub(crate) health: Option<HealthCheck>,
    /// Total time for one delivery, including the time to connect.
    pub(crate) timeout: Duration,
    /// Time to connect to one server, including the TLS and HTTP/2 handshakes.
    pub(crate) connect_timeout: Duration,
    /// Time to write a request. `None`: only `timeout` applies.
    pub(crate) write_timeout: Option<Duration>,
    /// Time from the end of the request to the head of the response. `None`: only `timeout`
    /// applies.
    pub(crate) first_byte_timeout: Option<Duration>,
    /// Limits the deliveries in flight to one server: this number over HTTP/1, and as many
    /// connections full of streams over HTTP/2. `None`: no limit.
    pub(crate) max_connections: Option<usize>,
    /// Maximum number of idle connections to one server.
    pub(crate) max_idle: usize,
    /// How long an idle connection stays open.
    pub(crate) idle_timeout: Duration,
}

impl UpstreamConfig {
    /// Describes the upstream in one line, for `hookgate check`.
    pub(crate) fn describe(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let protocol = match self.protocol {
            HttpVersion::Http1 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
        };
        let balance = match self.balance {
            _ if servers.len() < 2 => "",
            Balance::RoundRobin => ", round robin",
            Balance::LeastRequests => ", least requests first",
            Balance::Hash => ", by a hash of the event",
        };
        let health = self.health.as_ref().map_or_else(String::new, |health| {
            let interval = duration_text(health.interval);
            format!(", health check {} every {interval}", health.probe)
        });
        let (servers, timeout) = (servers.join(", "), duration_text(self.timeout));
        let most = self.max_connections.map_or_else(String::new, |most| {
            format!(", at most {most} connections to each server")
        });
        format!("{servers}, timeout {timeout}, {protocol}{most}{balance}{health}")
    }
}

/// A server of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    Tcp(TcpServer),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

/// A server that is reached over TCP: its host name or IP address, and the socket addresses of
/// that name.
#[derive(Clone, Debug)]
pub(crate) struct TcpServer {
    /// Whether connections use TLS.
    pub(crate) secure: bool,
    /// The host name or IP address; an IPv6 address has no brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The addresses that the name resolved to when the configuration was read, sorted.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// Ignores the resolved addresses: the upstream resolves names again while it runs, so a changed
/// address alone is no change of the configuration.
impl PartialEq for TcpServer {
    fn eq(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }
}

impl Eq for TcpServer {}

impl TcpServer {
    /// Whether the host is a DNS name, whose addresses can change.
    pub(crate) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }
}

impl ServerAddress {
    /// Whether connections use TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Self::Tcp(server) if server.secure)
    }

    /// Returns the server if its host is a DNS name, whose addresses can change.
    pub(crate) fn as_name(&self) -> Option<&TcpServer> {
        match self {
            Self::Tcp(server) if server.is_name() => Some(server),
            _ => None,
        }
    }

    /// Returns the host name or IP address.
    pub(crate) fn host(&self) -> &str {
        match self {
            Self::Tcp(server) => &server.host,
            Self::Unix(_) => UNIX_HOST,
        }
    }

    /// Resolves the name of a server, if it has one.
    ///
    /// # Errors
    ///
    /// Returns the message if the name does not resolve.
    pub(crate) fn resolve(&mut self) -> Result<(), String> {
        let Self::Tcp(server) = self else {
            return Ok(());
        };
        let host = &server.host;
        let addresses = (host.as_str(), server.port).to_socket_addrs();
        let addresses = addresses.map_err(|error| {
            format!(
                "{host} does not resolve ({error}); expected a host name that resolves, or an IP \
                 address"
            )
        })?;
        server.addresses = addresses.collect();
        server.addresses.sort();
        server.addresses.dedup();
        Ok(())
    }

    /// Returns the value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Tcp(TcpServer { host, port, .. }) if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Self::Tcp(TcpServer { host, port, .. }) => format!("{host}:{port}"),
            Self::Unix(_) => UNIX_HOST.to_owned(),
        }
    }

    /// Returns the addresses that were known when the configuration was read.
    pub(crate) fn addresses(&self) -> Vec<TransportAddress> {
        match self {
            Self::Tcp(server) => {
                let addresses = server.addresses.iter().copied();
                addresses.map(TransportAddress::Tcp).collect()
            }
            Self::Unix(path) => vec![TransportAddress::Unix(Arc::clone(path))],
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(server) => {
                let scheme = if server.secure { "https://" } else { "" };
                write!(f, "{scheme}{}", self.authority())
            }
            Self::Unix(path) => TransportAddress::Unix(Arc::clone(path)).fmt(f),
        }
    }
}

/// The host of a server behind a Unix socket, for requests without a `Host` of the sender.
const UNIX_HOST: &str = "localhost";

/// The HTTP version for the connections to an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    #[default]
    Http1,
    Http2,
}

/// How the gateway chooses the server for a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Round robin: each server in turn.
    #[default]
    RoundRobin,
    /// The server with the fewest requests in flight.
    LeastRequests,
    /// The server that a hash of the event selects, so that retries reach the same server.
    Hash,
}

/// The active health check of an upstream's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) probe: HealthProbe,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// Number of consecutive failures after which a server is unhealthy.
    pub(crate) fall: usize,
    /// Number of consecutive successes after which a server is healthy again.
    pub(crate) rise: usize,
}

/// The request of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthProbe {
    /// A GET request; a 2xx response is a success.
    Http { path: String },
    /// The gRPC health checking protocol. An empty service name asks for the whole server.
    Grpc { service: String },
}

impl fmt::Display for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path } => write!(f, "at {path}"),
            Self::Grpc { service } if service.is_empty() => f.write_str("by gRPC"),
            Self::Grpc { service } => write!(f, "of {service} by gRPC"),
        }
    }
}

#[cfg(test)]
impl UpstreamConfig {
    /// An upstream without servers, for tests.
    pub(crate) fn to_test(timeout: Duration) -> Self {
        Self {
            servers: Vec::new(),
            protocol: HttpVersion::Http1,
            tls: ClientFiles::default(),
            balance: Balance::RoundRobin,
            health: None,
            timeout,
            connect_timeout: timeout,
            write_timeout: None,
            first_byte_timeout: None,
            max_connections: None,
            max_idle: 1,
            idle_timeout: timeout,
        }
    }
}

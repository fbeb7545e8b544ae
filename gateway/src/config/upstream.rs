//! Where deliveries are forwarded to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use humantime::format_duration;

use crate::upstream::tls::ClientFiles;

/// Servers that deliveries are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpstreamConfig {
    /// One or more.
    pub(crate) servers: Vec<ServerAddress>,
    pub(crate) protocol: HttpVersion,
    pub(crate) tls: ClientFiles,
    pub(crate) balance: Balance,
    pub(crate) health: Option<HealthCheck>,
    /// Total time for one delivery, connecting included.
    pub(crate) timeout: Duration,
    /// Time to connect to one server, handshakes included.
    pub(crate) connect_timeout: Duration,
    /// Time to write a request.
    pub(crate) write_timeout: Option<Duration>,
    /// Time from there to the head of the answer.
    pub(crate) first_byte_timeout: Option<Duration>,
    /// Most connections to one server that deliveries are under way on.
    pub(crate) max_connections: Option<usize>,
    /// Most idle connections.
    pub(crate) max_idle: usize,
    /// How long they are kept.
    pub(crate) idle_timeout: Duration,
}

impl UpstreamConfig {
    /// What it is, for people.
    pub(crate) fn text(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        let protocol = match self.protocol {
            HttpVersion::Http1 => "HTTP/1.1",
            HttpVersion::Http2 => "HTTP/2",
        };
        let balance = match self.balance {
            _ if servers.len() < 2 => "",
            Balance::RoundRobin => ", in turn",
            Balance::LeastRequests => ", the one with the fewest requests first",
            Balance::Hash => ", by the event",
        };
        let health = self.health.as_ref().map_or_else(String::new, |health| {
            let interval = format_duration(health.interval);
            format!(", checked {} every {interval}", health.probe)
        });
        let (servers, timeout) = (servers.join(", "), format_duration(self.timeout));
        let most = self.max_connections.map_or_else(String::new, |most| {
            format!(", at most {most} connections to each")
        });
        format!("{servers} within {timeout}, {protocol}{most}{balance}{health}")
    }
}

/// A server as it is written: an address or a name, and what it means.
#[derive(Clone, Debug)]
pub(crate) struct ServerAddress {
    /// Over TLS.
    pub(crate) secure: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What it meant at the start, in order.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A name is the same whatever it means at a moment: it is looked up again while it is
/// used.
impl PartialEq for ServerAddress {
    fn eq(&self, other: &Self) -> bool {
        (self.secure, &self.host, self.port) == (other.secure, &other.host, other.port)
    }
}

impl Eq for ServerAddress {}

impl ServerAddress {
    /// Whether its address may change.
    pub(crate) fn is_name(&self) -> bool {
        self.host.parse::<IpAddr>().is_err()
    }

    /// As it stands in `Host`.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.secure {
            f.write_str("https://")?;
        }
        f.write_str(&self.authority())
    }
}

/// What is spoken to servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    #[default]
    Http1,
    Http2,
}

/// Which server is tried first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastRequests,
    /// The same one for the same event.
    Hash,
}

/// How servers are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HealthCheck {
    pub(crate) probe: HealthProbe,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// After so many failures in a row a server is out.
    pub(crate) fall: usize,
    /// After so many successes in a row it is back.
    pub(crate) rise: usize,
}

/// What a server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HealthProbe {
    /// A path of HTTP, which answers 2xx.
    Http { path: String },
    /// The health protocol of gRPC; an empty name is the server as a whole.
    Grpc { service: String },
}

impl fmt::Display for HealthProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { path } => write!(f, "at {path}"),
            Self::Grpc { service } if service.is_empty() => f.write_str("by gRPC"),
            Self::Grpc { service } => write!(f, "for {service} by gRPC"),
        }
    }
}

#[cfg(test)]
impl UpstreamConfig {
    /// One without servers.
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

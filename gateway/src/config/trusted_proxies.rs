//! The proxies whose reports about senders are believed, and the fields with the reports.

use std::fmt;
use std::net::IpAddr;

use hookgate_core::internal::{FromValue, Report, Section, Value, text};

use super::Network;
use crate::client_address::ClientAddress;

/// The name of peers on Unix sockets in `trusted_proxies`.
const UNIX: &str = "unix";

/// The proxies in front of the gateway that may say who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TrustedProxies {
    peers: Vec<TrustedPeer>,
    fields: ForwardedFields,
}

/// Peers that are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrustedPeer {
    Network(Network),
    /// Every process that can connect to a Unix socket in `listen`.
    Unix,
}

/// The fields in which trusted proxies report the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ForwardedFields {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Rfc7239,
}

impl TrustedProxies {
    /// Reads `trusted_proxies` and `forwarded` of `[server]`.
    pub(super) fn read(section: &Section<'_>, warnings: &Report) -> Option<Self> {
        let fields = section.optional::<ForwardedFields>("forwarded");
        if !section.has("trusted_proxies") {
            if fields.is_some() {
                section.wrong(
                    "forwarded",
                    "has no effect without `trusted_proxies`; expected both keys or none of them",
                );
            }
            return None;
        }
        let peers = section.required_list::<TrustedPeer>("trusted_proxies");
        if peers.iter().any(|peer| peer.is_everyone()) {
            warnings.add(
                "server.trusted_proxies",
                "every host that can connect can claim any client address and https; expected \
                 only the addresses of your proxies",
            );
        }
        Some(Self {
            peers,
            fields: fields.unwrap_or_default(),
        })
    }

    /// Returns whether the proxy at `address` is trusted.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.peers.iter().any(|peer| match peer {
            TrustedPeer::Network(network) => network.contains(address),
            TrustedPeer::Unix => false,
        })
    }

    /// Returns whether `peer` is trusted.
    pub(crate) fn contains_peer(&self, peer: Option<ClientAddress>) -> bool {
        match peer {
            Some(ClientAddress::Ip(address)) => self.contains(address),
            Some(ClientAddress::Unix) => self.peers.contains(&TrustedPeer::Unix),
            None => false,
        }
    }

    pub(crate) fn fields(&self) -> ForwardedFields {
        self.fields
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = match self.fields {
            ForwardedFields::XForwarded => "X-Forwarded-For and X-Forwarded-Proto",
            ForwardedFields::Rfc7239 => "Forwarded",
        };
        let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
        write!(f, "{fields} of {}", peers.join(", "))
    }
}

impl TrustedPeer {
    fn is_everyone(self) -> bool {
        matches!(self, Self::Network(network) if network.is_all())
    }
}

impl fmt::Display for TrustedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

impl FromValue for TrustedPeer {
    const EXPECTED: &'static str = "a network such as \"10.0.0.0/8\", or \"unix\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            UNIX => Some(Self::Unix),
            network => network.parse().ok().map(Self::Network),
        })
    }
}

impl FromValue for ForwardedFields {
    const EXPECTED: &'static str = "\"x-forwarded\" or \"rfc7239\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "x-forwarded" => Some(Self::XForwarded),
            "rfc7239" => Some(Self::Rfc7239),
            _ => None,
        })
    }
}

#[cfg(test)]
impl TrustedProxies {
    /// Creates a list of networks that are written with blanks between them.
    pub(crate) fn of(networks: &str, fields: ForwardedFields) -> Self {
        let peer = |text: &str| {
            TrustedPeer::from_value(&Value::String(text.to_owned())).expect("a network")
        };
        Self {
            peers: networks.split(' ').map(peer).collect(),
            fields,
        }
    }
}

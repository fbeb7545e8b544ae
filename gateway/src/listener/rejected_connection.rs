//! Connections that end before a request was read on them: counted, and told to the log, because
//! whoever makes them gets no answer that says why.

use std::net::IpAddr;

use crate::gateway::Gateway;
use crate::telemetry::log_throttle::LogThrottle;

/// Why a connection is closed unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRejection {
    /// There are as many as `limits.connections` allows.
    Full,
    /// The address has as many as `limits.connections_per_address` allows.
    FullOfAddress,
    /// It is of nobody whom `server.proxy_protocol` names.
    NoBalancer,
    /// Its balancer does not say whose it is.
    NoProxyHeader,
    /// The handshake of TLS has failed.
    NoTls,
}

impl ConnectionRejection {
    const ALL: [Self; 5] = [
        Self::Full,
        Self::FullOfAddress,
        Self::NoBalancer,
        Self::NoProxyHeader,
        Self::NoTls,
    ];

    /// Stable label for metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Full => "connections",
            Self::FullOfAddress => "connections_per_address",
            Self::NoBalancer => "not_a_balancer",
            Self::NoProxyHeader => "no_proxy_header",
            Self::NoTls => "tls",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Full => "there are as many as limits.connections allows",
            Self::FullOfAddress => {
                "its address has as many as limits.connections_per_address allows"
            }
            Self::NoBalancer => "its address is of no network in server.proxy_protocol",
            Self::NoProxyHeader => "it does not begin with a header of the PROXY protocol",
            Self::NoTls => "no TLS handshake",
        }
    }
}

/// When it was last told of each.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog([LogThrottle; ConnectionRejection::ALL.len()]);

impl Gateway {
    /// Every reason, so that each has a count before there is one.
    pub(crate) fn announce_turned_away(&self) {
        for why in ConnectionRejection::ALL {
            self.metrics.connections_refused(why.label(), 0);
        }
    }

    /// Counts a connection that is closed; the log hears of each reason once a minute.
    pub(crate) fn turn_away(
        &self,
        why: ConnectionRejection,
        client: Option<IpAddr>,
        cause: Option<&str>,
    ) {
        self.metrics.connections_refused(why.label(), 1);
        if self.turned_away.0[why as usize].should_log() {
            let (reason, client) = (why.label(), client.map(tracing::field::display));
            tracing::warn!(
                reason,
                client,
                cause,
                "a connection was closed: {}; others like it are counted for a minute",
                why.text()
            );
        }
    }
}

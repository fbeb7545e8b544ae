//! Connections that the gateway closes before it reads a request, or instead of reading another one.
//!
//! Such a client gets no response that names the reason, so the gateway counts each
//! refusal and logs it. The log shows each reason at most once a minute.

use std::error::Error;

use hookgate_core::internal::ErrorChain;

use crate::client_address::ClientAddress;
use crate::listener::eviction::WaitsFor;
use crate::telemetry::log_throttle::LogThrottle;
use crate::telemetry::metrics::Metrics;

/// Why a connection is closed without a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionRefusal {
    /// `limits.connections` is reached.
    TooMany,
    /// The client's address has reached `limits.connections_per_address`.
    TooManyFromAddress,
    /// The address of the peer is in no network of `server.proxy_protocol`.
    NotABalancer,
    /// The load balancer sent no valid header of the PROXY protocol.
    NoProxyHeader,
    /// The TLS handshake failed.
    TlsFailed,
}

impl ConnectionRefusal {
    const ALL: [Self; 5] = [
        Self::TooMany,
        Self::TooManyFromAddress,
        Self::NotABalancer,
        Self::NoProxyHeader,
        Self::TlsFailed,
    ];

    /// Returns the stable label for metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::TooMany => "connections",
            Self::TooManyFromAddress => "connections_per_address",
            Self::NotABalancer => "not_a_balancer",
            Self::NoProxyHeader => "no_proxy_header",
            Self::TlsFailed => "tls",
        }
    }

    /// Returns the explanation for the log.
    const fn text(self) -> &'static str {
        match self {
            Self::TooMany => "limits.connections is reached",
            Self::TooManyFromAddress => "limits.connections_per_address is reached for its address",
            Self::NotABalancer => "its address is in no network of server.proxy_protocol",
            Self::NoProxyHeader => "it does not start with a valid PROXY protocol header",
            Self::TlsFailed => "the TLS handshake failed",
        }
    }
}

/// Counts refused and evicted connections, and limits their lines in the log.
#[derive(Debug, Default)]
pub(crate) struct ConnectionRefusalLog {
    refusals: [LogThrottle; ConnectionRefusal::ALL.len()],
    evictions: LogThrottle,
}

impl ConnectionRefusalLog {
    /// Creates the log, and a counter of zero for each reason.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        for refusal in ConnectionRefusal::ALL {
            metrics.connections_refused(refusal.label(), 0);
        }
        for waits_for in WaitsFor::ALL {
            metrics.connections_evicted(waits_for.label(), 0);
        }
        Self::default()
    }

    /// Counts a connection that is closed for this reason, and logs it once a minute.
    pub(crate) fn record(
        &self,
        metrics: &Metrics,
        refusal: ConnectionRefusal,
        client: Option<ClientAddress>,
        cause: Option<&(dyn Error + 'static)>,
    ) {
        metrics.connections_refused(refusal.label(), 1);
        if self.refusals[refusal as usize].should_log() {
            tracing::warn!(
                reason = refusal.label(),
                client = client.map(tracing::field::display),
                cause = cause.map(|cause| tracing::field::display(ErrorChain(cause))),
                "connection refused: {}; further refusals for this reason are only counted \
                 for a minute",
                refusal.text()
            );
        }
    }
    /// Counts a connection that closes in favour of a new one, and logs this once a minute.
    pub(crate) fn record_eviction(&self, metrics: &Metrics, waits_for: WaitsFor) {
        metrics.connections_evicted(waits_for.label(), 1);
        if self.evictions.should_log() {
            tracing::warn!(
                reason = waits_for.label(),
                "limits.connections is reached: connections that wait for their clients are \
                 closed in favour of new ones; further ones are only counted for a minute"
            );
        }
    }
}

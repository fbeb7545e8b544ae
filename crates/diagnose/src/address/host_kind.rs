//! Kinds of hosts that no provider calls, or that soon change.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The kind of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKind {
    /// Only machines of the same network reach the host.
    Private,
    /// A tunnel to a developer's machine. Its name often changes with each start.
    Tunnel,
    Public,
}

/// Domains of tunnels.
const TUNNELS: [&str; 12] = [
    "ngrok.io",
    "ngrok.app",
    "ngrok.dev",
    "ngrok-free.app",
    "ngrok-free.dev",
    "trycloudflare.com",
    "loca.lt",
    "localtunnel.me",
    "serveo.net",
    "lhr.life",
    "devtunnels.ms",
    "pinggy.link",
];
/// Top-level names that are reserved for local use (RFC 6761, RFC 6762, RFC 8375, RFC 9476), and
/// names of containers and clusters.
const LOCAL: [&str; 8] = [
    "localhost",
    "local",
    "internal",
    "home.arpa",
    "alt",
    "lan",
    "docker",
    "localdomain",
];

impl HostKind {
    pub(super) fn of(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = address.parse::<Ipv4Addr>() {
            return match address.is_loopback() || address.is_private() || address.is_unspecified() {
                true => Self::Private,
                false => Self::Public,
            };
        }
        if let Ok(address) = address.parse::<Ipv6Addr>() {
            return match address.is_loopback() || address.is_unique_local() {
                true => Self::Private,
                false => Self::Public,
            };
        }
        if !host.contains('.') || LOCAL.iter().any(|domain| is_in(&host, domain)) {
            return Self::Private;
        }
        match TUNNELS.iter().any(|domain| is_in(&host, domain)) {
            true => Self::Tunnel,
            false => Self::Public,
        }
    }
}

/// Whether both hosts are in one registered domain. Of unknown suffixes, two labels count.
pub(super) fn is_same_site(one: &str, other: &str) -> bool {
    let site = |host: &str| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let labels: Vec<&str> = host.split('.').collect();
        let is_address = labels.iter().all(|label| label.parse::<u8>().is_ok());
        let kept = match is_address || host.starts_with('[') {
            true => labels.len(),
            false => 2,
        };
        labels[labels.len().saturating_sub(kept)..].join(".")
    };
    site(one) == site(other)
}

fn is_in(host: &str, domain: &str) -> bool {
    host == domain
        || host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_its_kind() {
        for (host, kind) in [
            ("127.0.0.1", HostKind::Private),
            ("10.1.2.3", HostKind::Private),
            ("172.16.0.1", HostKind::Private),
            ("172.32.0.1", HostKind::Public),
            ("[::1]", HostKind::Private),
            ("[2001:db8::1]", HostKind::Public),
            ("LOCALHOST", HostKind::Private),
            ("app", HostKind::Private),
            ("hooks.svc.cluster.local", HostKind::Private),
            ("nonlocal.example", HostKind::Public),
            ("ab12.ngrok-free.app", HostKind::Tunnel),
            ("notngrok.io", HostKind::Public),
            ("hooks.example.com", HostKind::Public),
        ] {
            assert_eq!(HostKind::of(host), kind, "{host}");
        }
    }

    #[test]
    fn hosts_of_one_domain_are_one_site() {
        for (one, other, same) in [
            ("example.com", "api.example.com", true),
            ("www.example.com.", "API.example.com", true),
            ("example.com", "example.org", false),
            ("127.0.0.1", "10.0.0.1", false),
            ("localhost", "localhost", true),
        ] {
            assert_eq!(is_same_site(one, other), same, "{one} {other}");
        }
    }
}

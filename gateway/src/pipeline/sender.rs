//! The sender of a request: the peer of the connection, or the host that trusted proxies name.
//!
//! The result serves the upstream, the limits and the logs. Routes and signed addresses do not
//! depend on it.

use std::net::IpAddr;

use http::HeaderMap;

use crate::client_address::ClientAddress;
use crate::config::{ForwardedFields, TrustedProxies};
use crate::pipeline::forwarded::{UrlScheme, forwarded, x_forwarded_for, x_forwarded_proto};

/// Maximum number of elements that are read. No path has as many proxies, and a list of trusted
/// addresses must not cost more.
const MAX_HOPS: usize = 32;

/// The sender of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// `None` if the connection has ended.
    pub(crate) address: Option<ClientAddress>,
    /// The scheme of the URL that the sender requested.
    pub(crate) scheme: UrlScheme,
}

impl Sender {
    /// Returns the sender that trusted proxies name in `headers`. `connected` is the scheme of
    /// the connection of `peer`.
    ///
    /// The elements are read from the right, as long as they name trusted addresses. The first
    /// other address is the sender. An element without an address ends the list: the sender is
    /// then the proxy that wrote this element.
    pub(crate) fn find(
        trusted: &TrustedProxies,
        peer: Option<ClientAddress>,
        connected: UrlScheme,
        headers: &HeaderMap,
    ) -> Self {
        let mut sender = Self {
            address: peer,
            scheme: connected,
        };
        if !trusted.contains_peer(peer) {
            return sender;
        }
        match trusted.fields() {
            ForwardedFields::XForwarded => {
                sender.scheme = x_forwarded_proto(headers).unwrap_or(connected);
                for address in x_forwarded_for(headers).take(MAX_HOPS) {
                    if !sender.is_before(address, trusted) {
                        break;
                    }
                }
            }
            ForwardedFields::Rfc7239 => {
                for hop in forwarded(headers).take(MAX_HOPS) {
                    let Some(hop) = hop else {
                        break;
                    };
                    sender.scheme = hop.scheme.unwrap_or(sender.scheme);
                    if !sender.is_before(hop.client, trusted) {
                        break;
                    }
                }
            }
        }
        sender
    }

    /// Moves on to the host at `address`, if it is known. Returns whether that host is a trusted
    /// proxy, so that another host can be before it.
    fn is_before(&mut self, address: Option<IpAddr>, trusted: &TrustedProxies) -> bool {
        let Some(address) = address else {
            return false;
        };
        self.address = Some(address.into());
        trusted.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PROXIES: &str = "10.0.0.0/8 2001:db8::/32 unix";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("the line is a field value");
            headers.append(*name, value);
        }
        headers
    }

    fn peer(text: &str) -> Option<ClientAddress> {
        (!text.is_empty()).then(|| text.parse().expect("an address"))
    }

    fn check(
        fields: ForwardedFields,
        from: &str,
        lines: &[(&'static str, &str)],
        expected: (&str, UrlScheme),
    ) {
        let trusted = TrustedProxies::of(PROXIES, fields);
        let found = Sender::find(&trusted, peer(from), UrlScheme::Http, &headers(lines));
        let (address, scheme) = expected;
        let address = peer(address);
        assert_eq!(found, Sender { address, scheme }, "{from}: {lines:?}");
    }

    #[test]
    fn the_sender_is_the_last_address_that_is_not_trusted() {
        use UrlScheme::{Http, Https};
        let of = "x-forwarded-for";
        let proto = "x-forwarded-proto";
        for (from, lines, expected) in [
            ("10.0.0.1", &[(of, "192.0.2.7")][..], ("192.0.2.7", Http)),
            (
                "10.0.0.1",
                &[(of, "1.1.1.1, 192.0.2.7")],
                ("192.0.2.7", Http),
            ),
            (
                "10.0.0.1",
                &[(of, "192.0.2.7, 10.9.9.9")],
                ("192.0.2.7", Http),
            ),
            (
                "10.0.0.1",
                &[(of, "192.0.2.7"), (of, "2001:db8::9")],
                ("192.0.2.7", Http),
            ),
            ("10.0.0.1", &[(of, "10.0.0.3,10.0.0.2")], ("10.0.0.3", Http)),
            (
                "10.0.0.1",
                &[(of, "1.1.1.1, x, 10.0.0.2")],
                ("10.0.0.2", Http),
            ),
            ("10.0.0.1", &[(of, "1.1.1.1,")], ("10.0.0.1", Http)),
            ("10.0.0.1", &[(of, "1.1.1.1, unknown")], ("10.0.0.1", Http)),
            (
                "10.0.0.1",
                &[(of, "192.0.2.7"), (proto, "https")],
                ("192.0.2.7", Https),
            ),
            ("10.0.0.1", &[(proto, "https")], ("10.0.0.1", Https)),
            ("10.0.0.1", &[(proto, "ftp")], ("10.0.0.1", Http)),
            ("10.0.0.1", &[], ("10.0.0.1", Http)),
            (
                "10.0.0.1",
                &[("forwarded", "for=192.0.2.7;proto=https")],
                ("10.0.0.1", Http),
            ),
            ("::ffff:10.0.0.1", &[(of, "192.0.2.7")], ("192.0.2.7", Http)),
            (
                "2001:db8::1",
                &[(of, "[2001:db9::7]:1")],
                ("2001:db9::7", Http),
            ),
            (
                "unix",
                &[(of, "192.0.2.7"), (proto, "https")],
                ("192.0.2.7", Https),
            ),
            ("unix", &[], ("unix", Http)),
            (
                "192.0.2.1",
                &[(of, "192.0.2.7"), (proto, "https")],
                ("192.0.2.1", Http),
            ),
            ("", &[(of, "192.0.2.7"), (proto, "https")], ("", Http)),
        ] {
            check(ForwardedFields::XForwarded, from, lines, expected);
        }
    }

    #[test]
    fn forwarded_names_the_scheme_of_the_hop_that_names_the_sender() {
        use UrlScheme::{Http, Https};
        for (line, expected) in [
            ("for=192.0.2.7;proto=https", ("192.0.2.7", Https)),
            ("for=192.0.2.7", ("192.0.2.7", Http)),
            (
                "for=192.0.2.7;proto=https, for=10.0.0.2;proto=http",
                ("192.0.2.7", Https),
            ),
            (
                "for=192.0.2.7;proto=http, for=10.0.0.2;proto=https",
                ("192.0.2.7", Http),
            ),
            (
                "for=1.1.1.1;proto=https, for=192.0.2.7",
                ("192.0.2.7", Http),
            ),
            ("for=1.1.1.1, for=unknown;proto=https", ("10.0.0.1", Https)),
            ("for=1.1.1.1, for=_x", ("10.0.0.1", Http)),
            ("for=1.1.1.1, broken;proto=https", ("10.0.0.1", Http)),
            ("for=\", for=192.0.2.7", ("192.0.2.7", Http)),
        ] {
            let lines = [("forwarded", line), ("x-forwarded-for", "1.2.3.4")];
            check(ForwardedFields::Rfc7239, "10.0.0.1", &lines, expected);
            let expected = ("192.0.2.1", Http);
            check(ForwardedFields::Rfc7239, "192.0.2.1", &lines, expected);
        }
    }

    #[test]
    fn a_long_list_of_trusted_addresses_is_read_up_to_the_limit() {
        let addresses: Vec<String> = (0..5000)
            .rev()
            .map(|n| format!("10.1.{}.{}", n / 250, n % 250))
            .collect();
        let lines = [("x-forwarded-for", &*addresses.join(","))];
        let last = ("10.1.0.31", UrlScheme::Http);
        check(ForwardedFields::XForwarded, "10.0.0.1", &lines, last);
    }
}

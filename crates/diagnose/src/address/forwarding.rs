//! The address that a client called, as the headers of proxies show it.

use http::{HeaderMap, Uri};

use super::url::{Address, split_port, split_query};

/// The values of one part that are used. A request with more repeats itself.
const MAX_VALUES: usize = 6;
/// The longest value that is used, in bytes.
const MAX_LEN: usize = 4096;

const SCHEMES: [&str; 5] = [
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "cloudfront-forwarded-proto",
    "x-scheme",
    "x-url-scheme",
];
/// Headers whose value `on` means `https`.
const TLS_FLAGS: [&str; 2] = ["x-forwarded-ssl", "front-end-https"];
const HOSTS: [&str; 3] = ["x-forwarded-host", "x-original-host", "x-host"];
const PREFIXES: [&str; 2] = ["x-forwarded-prefix", "x-script-name"];
const TARGETS: [&str; 8] = [
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
    "x-request-uri",
    "x-forwarded-path",
];

/// Returns the URLs that a client of the request may have called, the most likely one first.
pub(crate) fn requested(headers: &HeaderMap, target: Option<&Uri>) -> Vec<String> {
    let forwarding = Forwarding::of(headers, target);
    let assembled = forwarding.assembled();
    let other = assembled.clone().map(Address::with_other_scheme);
    let both = assembled.into_iter().chain(other);
    both.map(|address| address.to_url()).collect()
}

/// The parts of the address that a client called, the most likely value of each first.
#[derive(Clone, Debug, Default)]
pub(super) struct Forwarding {
    pub(super) schemes: Vec<String>,
    /// Hosts with their ports.
    pub(super) hosts: Vec<(String, Option<String>)>,
    /// Ports that a proxy has received requests on.
    pub(super) ports: Vec<String>,
    /// Prefixes that a proxy has removed from the path.
    pub(super) prefixes: Vec<String>,
    /// Paths with queries.
    pub(super) targets: Vec<(String, Option<String>)>,
    /// Whether a header of a proxy has one of the targets.
    pub(super) has_original_target: bool,
}

impl Forwarding {
    /// Reads the parts from the headers of a request, and from its target.
    pub(super) fn of(headers: &HeaderMap, target: Option<&Uri>) -> Self {
        let mut found = Self::default();
        for value in values(headers, &TARGETS) {
            found.has_original_target = true;
            found.add_target(value);
        }
        for value in values(headers, &HOSTS) {
            found.add_authority(value);
        }
        for value in values(headers, &SCHEMES) {
            found.add_scheme(value);
        }
        found.add_forwarded(headers);
        if values(headers, &TLS_FLAGS).any(|value| value.eq_ignore_ascii_case("on")) {
            found.add_scheme("https");
        }
        for value in values(headers, &["x-forwarded-port"]) {
            add(&mut found.ports, value.to_owned());
        }
        for value in values(headers, &PREFIXES) {
            let prefix = format!("/{}", value.trim_matches('/'));
            add(&mut found.prefixes, prefix);
        }
        if let Some(target) = target {
            found.add_target(&target.to_string());
        }
        for value in values(headers, &["host"]) {
            found.add_authority(value);
        }
        found
    }

    /// Returns the address that all parts together show, if a host is known.
    pub(super) fn assembled(&self) -> Option<Address> {
        let (path, query) = self.targets.first().cloned().unwrap_or_default();
        let path = match self.prefixes.first() {
            Some(prefix) if !self.has_original_target && !path.starts_with(&**prefix) => {
                format!("{prefix}{path}")
            }
            _ => path,
        };
        let (host, port) = self.hosts.first()?.clone();
        let port = self.ports.first().cloned().or(port);
        let scheme = self.schemes.first().map_or("https", |scheme| scheme);
        let is_default = |port: &String| matches!(port.as_str(), "80" | "443");
        Some(Address {
            scheme: scheme.to_owned(),
            user: None,
            host,
            port: port.filter(|port| !is_default(port)),
            path,
            query,
        })
    }

    /// Adds the parts of the header `Forwarded` (RFC 7239).
    fn add_forwarded(&mut self, headers: &HeaderMap) {
        for element in values(headers, &["forwarded"]) {
            for pair in element.split(';') {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "proto" => self.add_scheme(value),
                    "host" => self.add_authority(value),
                    _ => {}
                }
            }
        }
    }

    fn add_scheme(&mut self, value: &str) {
        let scheme = value.to_ascii_lowercase();
        if matches!(&*scheme, "http" | "https") {
            add(&mut self.schemes, scheme);
        }
    }

    fn add_authority(&mut self, value: &str) {
        let (host, port) = split_port(value);
        if !host.is_empty() {
            add(&mut self.hosts, (host.to_owned(), port.map(str::to_owned)));
        }
    }

    /// Adds a request target in origin form or in absolute form (RFC 9112 §3.2).
    fn add_target(&mut self, value: &str) {
        if let Some(address) = Address::parse(value) {
            self.add_scheme(&address.scheme);
            add(&mut self.hosts, (address.host, address.port));
            add(&mut self.targets, (address.path, address.query));
        } else if value.starts_with('/') {
            let (path, query) = split_query(value);
            let target = (path.to_owned(), query.map(str::to_owned));
            add(&mut self.targets, target);
        }
    }
}

fn add<T: PartialEq>(values: &mut Vec<T>, value: T) {
    if values.len() < MAX_VALUES && !values.contains(&value) {
        values.push(value);
    }
}

/// Returns the first element of each value of these headers. The first proxy writes it.
fn values<'h>(headers: &'h HeaderMap, names: &'h [&'static str]) -> impl Iterator<Item = &'h str> {
    let all = names.iter().flat_map(|name| headers.get_all(*name));
    all.filter_map(|value| {
        let text = value.to_str().ok()?.split(',').next()?.trim();
        let usable = 1..=MAX_LEN;
        (usable.contains(&text.len()) && !text.contains(' ')).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let parse = |(name, value): &(&'static str, &'static str)| {
            (name.parse().unwrap(), value.parse().unwrap())
        };
        lines
            .iter()
            .map(parse)
            .collect::<Vec<(http::HeaderName, _)>>()
            .into_iter()
            .collect()
    }

    #[test]
    fn the_headers_of_proxies_show_the_called_address() {
        for (lines, target, expected) in [
            (&[][..], None, None),
            (
                &[("host", "a.example")],
                Some("/x?y=1"),
                Some("https://a.example/x?y=1"),
            ),
            (
                &[
                    ("host", "10.0.0.1:8080"),
                    ("x-forwarded-host", "a.example, b.example"),
                    ("x-forwarded-proto", "http"),
                    ("x-forwarded-prefix", "/api/"),
                ],
                Some("/x"),
                Some("http://a.example/api/x"),
            ),
            (
                &[(
                    "forwarded",
                    "for=1.2.3.4;proto=https;host=\"a.example\", for=5.6.7.8",
                )],
                None,
                Some("https://a.example"),
            ),
            (
                &[
                    ("x-original-url", "http://a.example:81/x?y"),
                    ("host", "b.example"),
                ],
                Some("/z"),
                Some("http://a.example:81/x?y"),
            ),
            (
                &[
                    ("host", "a.example"),
                    ("x-forwarded-port", "443"),
                    ("x-forwarded-uri", "/api/x"),
                    ("x-forwarded-prefix", "/api"),
                ],
                Some("/x"),
                Some("https://a.example/api/x"),
            ),
        ] {
            let target = target.map(|target: &str| target.parse().unwrap());
            let found = Forwarding::of(&headers(lines), target.as_ref()).assembled();
            let found = found.map(|address| address.to_url());
            assert_eq!(found.as_deref(), expected, "{lines:?}");
        }
    }
}

//! Explains in the log why an upstream redirects: an app that forces https redirects every
//! delivery that seems to have come without TLS.

use std::fmt;

use http::header::{HOST, LOCATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, StatusCode, Uri};
use pingora_http::{RequestHeader, ResponseHeader};

use crate::upstream::upstream_target;

/// Maximum number of characters of a location in the log.
const MAX_LOCATION: usize = 200;

/// A response that no sender receives, as the log names it: its status, its location without the
/// query, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WithheldResponse {
    status: StatusCode,
    location: Option<String>,
    cause: Option<Cause>,
}

/// Why the upstream redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The location is the URL that the upstream got, with https.
    ForcesHttps,
    /// The location is the URL that the upstream got.
    IgnoresScheme,
    Other,
}

impl WithheldResponse {
    /// Describes the response to a request with this head. The upstream got `upstream_path` in
    /// place of the path of the request, and `scheme` in `x-forwarded-proto`.
    pub(crate) fn new(
        response: &ResponseHeader,
        request: &RequestHeader,
        upstream_path: Option<&str>,
        scheme: &str,
    ) -> Self {
        let location = location(&response.headers);
        let target = upstream_target(&request.uri, upstream_path);
        let host = request.headers.get(HOST);
        let host = host.and_then(|host| host.to_str().ok());
        Self {
            status: response.status,
            location: location.map(redact),
            cause: location.map(|location| Cause::of(location, host, &target, scheme)),
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Logs the response to an attempt of a delivery that the queue has.
    pub(crate) fn log_queued(&self, request_id: &str, source: &str) {
        tracing::warn!(
            request_id,
            source,
            status = self.status.as_u16(),
            "{self}; the queue sends the delivery again. {}",
            self.advice()
        );
    }

    /// Returns advice for the operator.
    pub(crate) fn advice(&self) -> &'static str {
        match self.cause {
            None if self.status.is_success() => "The gRPC call did not succeed",
            None => "Some senders end their subscription on this status",
            Some(Cause::ForcesHttps) => {
                "Does the app force https? Set server.trusted_proxies to the proxy that ends TLS, \
                 and let that proxy set X-Forwarded-Proto, see docs/proxies.md"
            }
            Some(Cause::IgnoresScheme) => {
                "Does the app force https? It must read X-Forwarded-Proto, which is https already, \
                 see docs/proxies.md"
            }
            Some(Cause::Other) => {
                "Senders follow no redirects: the app must respond at this path itself"
            }
        }
    }
}

impl fmt::Display for WithheldResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream responded {}", self.status.as_u16())?;
        match &self.location {
            Some(location) => write!(f, " (Location: {location})"),
            None => Ok(()),
        }
    }
}

impl Cause {
    fn of(location: &str, host: Option<&str>, target: &str, scheme: &str) -> Self {
        let Ok(to) = location.parse::<Uri>() else {
            return Self::Other;
        };
        let path = to.path_and_query().map_or("/", PathAndQuery::as_str);
        let is_same_host = match (to.host(), host.and_then(|host| host.parse::<Uri>().ok())) {
            (Some(to), Some(host)) => host
                .host()
                .is_some_and(|host| host.eq_ignore_ascii_case(to)),
            _ => false,
        };
        if to.scheme_str() != Some("https") || !is_same_host || path != target {
            return Self::Other;
        }
        match scheme {
            "https" => Self::IgnoresScheme,
            _ => Self::ForcesHttps,
        }
    }
}

fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(LOCATION)?.to_str().ok()
}

/// Returns the location without its query, its fragment and its user, which can contain secrets.
fn redact(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let location = &location[..end];
    let (scheme, rest) = match location.find("//") {
        Some(at) => location.split_at(at + 2),
        None => ("", location),
    };
    let host_len = rest.find('/').unwrap_or(rest.len());
    let user_len = rest[..host_len].rfind('@').map_or(0, |at| at + 1);
    let shown = scheme.chars().chain(rest[user_len..].chars());
    // A quote or a blank could imitate another part of the line.
    let shown = shown.map(|c| {
        if c.is_ascii_graphic() && c != '"' {
            c
        } else {
            '?'
        }
    });
    shown.take(MAX_LOCATION).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn withheld(
        location: &str,
        target: &str,
        upstream_path: Option<&str>,
        scheme: &str,
    ) -> WithheldResponse {
        let mut response = ResponseHeader::build(301, None).expect("a status");
        let value = HeaderValue::from_str(location).expect("a field value");
        response.insert_header(LOCATION, value).expect("a field");
        let mut request = RequestHeader::build("POST", target.as_bytes(), None).expect("a target");
        request
            .insert_header(HOST, "hooks.example:8080")
            .expect("a field");
        WithheldResponse::new(&response, &request, upstream_path, scheme)
    }

    #[test]
    fn a_location_that_differs_in_the_scheme_only_is_an_app_that_forces_https() {
        for (location, scheme, expected) in [
            ("https://hooks.example/in?a=1", "http", Cause::ForcesHttps),
            (
                "https://HOOKS.example:8080/in?a=1",
                "http",
                Cause::ForcesHttps,
            ),
            (
                "https://hooks.example/in?a=1",
                "https",
                Cause::IgnoresScheme,
            ),
            ("https://hooks.example/in?a=2", "http", Cause::Other),
            ("https://hooks.example/in/?a=1", "http", Cause::Other),
            ("https://www.example/in?a=1", "http", Cause::Other),
            ("http://hooks.example/in?a=1", "http", Cause::Other),
            ("/in?a=1", "http", Cause::Other),
            ("https://", "http", Cause::Other),
        ] {
            let withheld = withheld(location, "/in?a=1", None, scheme);
            assert_eq!(withheld.cause, Some(expected), "{location}");
        }
    }

    #[test]
    fn the_location_is_compared_with_the_path_that_the_upstream_got() {
        for (location, expected) in [
            ("https://hooks.example/app?a=1", Cause::ForcesHttps),
            ("https://hooks.example/in?a=1", Cause::Other),
            ("https://hooks.example/app", Cause::Other),
        ] {
            let withheld = withheld(location, "/in?a=1", Some("/app"), "http");
            assert_eq!(withheld.cause, Some(expected), "{location}");
        }
    }

    #[test]
    fn the_log_shows_no_query_and_no_password() {
        for (location, shown) in [
            ("https://a.example/in?token=1", "https://a.example/in"),
            ("https://user:word@a.example/in", "https://a.example/in"),
            ("//user:word@a.example", "//a.example"),
            ("https://a@b@a.example/x@y", "https://a.example/x@y"),
            ("/login#secret", "/login"),
            ("/a b\"c\u{7f}é", "/a?b?c??"),
        ] {
            assert_eq!(redact(location), shown, "{location}");
        }
        assert_eq!(redact(&"/".repeat(1000)).len(), MAX_LOCATION);
    }
}

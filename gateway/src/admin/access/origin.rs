//! Refuses requests that another website makes in the browser of a user.
//!
//! A website can let its own host name resolve to the admin address (DNS rebinding), so a host
//! name must be configured. A browser names the website in `Origin` and `Sec-Fetch-Site`.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};

use crate::admin::problem::Problem;

/// The kind of resource that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum Visit {
    /// The page itself, which has no data. Links on other websites may lead to it.
    Page,
    /// Data, or a file of the page.
    Data,
}

/// Checks that the request comes from no other website. `hosts` are the configured host names.
///
/// # Errors
///
/// Returns 403 with the cause.
pub(in crate::admin) fn check_origin(
    request: &Parts,
    hosts: &[String],
    visit: Visit,
) -> Result<(), Problem> {
    let headers = &request.headers;
    let host = host(headers, &request.uri).ok_or_else(|| {
        Problem::forbidden("expected one header `Host` with the name of the admin address")
    })?;
    if !is_own_name(host.host(), hosts) {
        return Err(Problem::forbidden(
            "the gateway does not know this host name; use its IP address, or add the name to \
             `inspector.hosts`",
        ));
    }
    let is_link = visit == Visit::Page && is_navigation(headers);
    let site = single(headers, "sec-fetch-site");
    let is_foreign_site = !matches!(site, Ok(None | Some(b"same-origin" | b"none")));
    if (is_foreign_site && !is_link) || !is_own_origin(headers, &host, hosts) {
        return Err(Problem::forbidden(
            "another website made this request; open the admin address itself",
        ));
    }
    Ok(())
}

/// Returns the host of the request. The target may repeat the host, and cannot name another one.
fn host(headers: &HeaderMap, target: &Uri) -> Option<Authority> {
    let value = single(headers, HOST.as_str()).ok()??;
    let host = authority(value)?;
    match target.authority() {
        Some(target) if *target != host => None,
        _ => Some(host),
    }
}

/// Parses a host with an optional port.
fn authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
    is_plain.then_some(authority)
}

/// Whether no other website can have this name: an IP address, `localhost`, or a configured name.
fn is_own_name(host: &str, hosts: &[String]) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let name = host.trim_end_matches('.');
    address.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || is_configured(name, hosts)
}

fn is_configured(name: &str, hosts: &[String]) -> bool {
    hosts.iter().any(|host| name.eq_ignore_ascii_case(host))
}

/// Whether the header `Origin` is absent, or names the address of the request. A proxy may change
/// the host, so the origin may also be a configured name.
fn is_own_origin(headers: &HeaderMap, host: &Authority, hosts: &[String]) -> bool {
    let origin = match single(headers, ORIGIN.as_str()) {
        Ok(None) => return true,
        Ok(Some(origin)) => Uri::try_from(origin).ok(),
        Err(_) => return false,
    };
    let Some((origin, default_port)) = origin.as_ref().and_then(|origin| {
        let default_port = match origin.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some((origin.authority()?, default_port))
    }) else {
        return false;
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    let is_same = origin.host().eq_ignore_ascii_case(host.host()) && port(origin) == port(host);
    is_same || is_configured(origin.host(), hosts)
}

/// Whether a browser opens the page in a tab.
fn is_navigation(headers: &HeaderMap) -> bool {
    let is = |name, expected: &[u8]| matches!(single(headers, name), Ok(Some(v)) if v == expected);
    is("sec-fetch-mode", b"navigate") && is("sec-fetch-dest", b"document")
}

/// The request repeats a header.
struct Repeated;

/// Returns the value of a header.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Repeated> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(HeaderValue::as_bytes)),
        (_, Some(_)) => Err(Repeated),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const OWN: [&str; 2] = ["Host", "127.0.0.1:9090"];

    fn is_allowed(target: &str, headers: &[[&str; 2]], visit: Visit) -> bool {
        let mut request = Request::get(target);
        for [name, value] in headers {
            request = request.header(*name, *value);
        }
        let (request, ()) = request.body(()).unwrap().into_parts();
        let hosts = ["hooks-admin.example".to_owned()];
        check_origin(&request, &hosts, visit).is_ok()
    }

    #[test]
    fn only_addresses_and_configured_names_are_hosts() {
        for host in [
            "127.0.0.1:9090",
            "[::1]:9090",
            "10.0.0.7",
            "localhost:9090",
            "LOCALHOST",
            "hooks-admin.example",
            "Hooks-Admin.Example.:443",
        ] {
            assert!(is_allowed("/", &[["Host", host]], Visit::Data), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "evil.example:9090",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "0x7f000001",
            "hooks-admin.example.evil",
            "",
        ] {
            assert!(!is_allowed("/", &[["Host", host]], Visit::Page), "{host}");
        }
        assert!(!is_allowed("/", &[], Visit::Data));
        assert!(!is_allowed("/", &[OWN, OWN], Visit::Data));
        assert!(!is_allowed("http://evil.example/", &[OWN], Visit::Data));
        assert!(is_allowed("http://127.0.0.1:9090/", &[OWN], Visit::Data));
    }

    #[test]
    fn only_the_own_origin_is_allowed() {
        for origin in ["http://127.0.0.1:9090", "https://hooks-admin.example"] {
            let headers = [OWN, ["Origin", origin]];
            assert!(is_allowed("/", &headers, Visit::Data), "{origin}");
        }
        for origin in [
            "null",
            "http://127.0.0.1:9091",
            "http://127.0.0.1",
            "http://localhost:9090",
            "https://evil.example",
            "file:///etc",
            "ftp://127.0.0.1:9090",
            "",
        ] {
            let headers = [OWN, ["Origin", origin]];
            assert!(!is_allowed("/", &headers, Visit::Data), "{origin}");
            assert!(!is_allowed("/", &headers, Visit::Page), "{origin}");
        }
        let tls = [
            ["Host", "hooks-admin.example"],
            ["Origin", "https://hooks-admin.example"],
        ];
        assert!(is_allowed("/", &tls, Visit::Data));
    }

    #[test]
    fn another_website_may_only_link_to_the_page() {
        for site in ["cross-site", "same-site", "", "other"] {
            let site = ["Sec-Fetch-Site", site];
            assert!(!is_allowed("/", &[OWN, site], Visit::Data), "{site:?}");
            assert!(!is_allowed("/", &[OWN, site], Visit::Page), "{site:?}");
            let link = [
                OWN,
                site,
                ["Sec-Fetch-Mode", "navigate"],
                ["Sec-Fetch-Dest", "document"],
            ];
            assert!(is_allowed("/", &link, Visit::Page), "{site:?}");
            assert!(!is_allowed("/", &link, Visit::Data), "{site:?}");
            let frame = [link[0], link[1], link[2], ["Sec-Fetch-Dest", "iframe"]];
            assert!(!is_allowed("/", &frame, Visit::Page), "{site:?}");
        }
        for site in ["same-origin", "none"] {
            let headers = [OWN, ["Sec-Fetch-Site", site]];
            assert!(is_allowed("/", &headers, Visit::Data), "{site}");
        }
    }
}

//! Signs of another address that no verification proves.

use super::forwarding::Forwarding;
use super::host_kind::{HostKind, is_same_site};
use super::signs_target;
use super::url::Address;
use crate::attempt::Case;
use crate::cause::{Cause, Code};
use crate::sign::{Sign, Strength};

/// Returns the signs of another signed address.
pub(crate) fn signs(case: Case<'_>) -> Vec<Sign> {
    let scheme = &case.setup.scheme;
    if !signs_target(scheme) {
        return Vec::new();
    }
    let forwarding = Forwarding::of(&case.capture.headers, case.capture.target.as_ref());
    let configured = case.setup.url.as_deref().and_then(Address::parse);
    let sign = match (&case.setup.url, &configured) {
        (None, _) if scheme.needs_url() => Some((
            Strength::Certain,
            format!(
                "{} signs the URL that it calls, and no URL is configured",
                case.setup.title()
            ),
        )),
        (Some(_), None) => Some((
            Strength::Certain,
            "the configured URL is not a URL that begins with https:// or http://".to_owned(),
        )),
        (Some(_), Some(url)) => {
            let host = scheme.needs_url().then(|| of_host(case, url, &forwarding));
            let path = of_path(&url.path, &forwarding);
            host.flatten().or(path).map(|text| (Strength::Likely, text))
        }
        (None, _) => {
            let path = case.capture.target.as_ref().map(|target| target.path());
            let text = path.and_then(|path| of_path(path, &forwarding));
            text.map(|text| (Strength::Likely, text))
        }
    };
    sign.map(|(strength, summary)| Sign {
        cause: Cause::new(Code::UrlMismatch, summary),
        strength,
    })
    .into_iter()
    .collect()
}

/// Describes a fault of the host in the configured URL.
fn of_host(case: Case<'_>, url: &Address, forwarding: &Forwarding) -> Option<String> {
    let title = case.setup.title();
    match HostKind::of(&url.host) {
        HostKind::Private => {
            return Some(format!(
                "`{url}` is configured, but {title} cannot call a private address, and it signs \
                 the public one"
            ));
        }
        HostKind::Tunnel => {
            return Some(format!(
                "`{url}` is configured, but the name of a tunnel changes, and {title} signs the \
                 URL that is entered there"
            ));
        }
        HostKind::Public => {}
    }
    let is_forwarded = forwarding.schemes.contains(&url.scheme);
    if let Some(scheme) = forwarding.schemes.first().filter(|_| !is_forwarded) {
        return Some(format!(
            "a proxy has received the request over {scheme}, but `{url}` is configured: the \
             scheme differs"
        ));
    }
    // Machines of the own network are called by proxies, under names of their own.
    let mut called = forwarding.hosts.iter().map(|(host, _)| host);
    let called = called.find(|host| HostKind::of(host) != HostKind::Private)?;
    (!is_same_site(called, &url.host)).then(|| {
        format!(
            "the request was sent to the host `{called}`, but `{url}` is configured: the host \
             differs"
        )
    })
}

/// Describes a difference between `path` and the headers of proxies.
fn of_path(path: &str, forwarding: &Forwarding) -> Option<String> {
    if let Some(prefix) = forwarding.prefixes.first()
        && !path.starts_with(&**prefix)
    {
        return Some(format!(
            "the path `{path}` lacks the prefix `{prefix}`, so a proxy has removed it"
        ));
    }
    let (called, _) = forwarding.targets.first()?;
    (forwarding.has_original_target && called != path).then(|| {
        format!(
            "a proxy has received a request for the path `{called}`, but the path `{path}` is \
             verified"
        )
    })
}

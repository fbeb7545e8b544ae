//! The endpoints of the admin address.

use hookgate_queue::EntryId;
use http::Method;

/// The endpoint that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'p> {
    Health,
    Ready,
    Metrics,
    Reload,
    /// A file of the page; the page itself is `/`.
    Page(&'p str),
    Session,
    Deliveries,
    Delivery(&'p str),
    Explanation(&'p str),
    Capture(&'p str),
    Body(&'p str),
    Resend(&'p str),
    Forget,
    Stream,
    Status,
    Configuration,
    Queue,
    QueueEntry(EntryId),
    QueueCapture(EntryId),
    QueueBody(EntryId),
    RetryEntry(EntryId),
    RetryEntries,
    DropEntries,
}

impl<'p> Endpoint<'p> {
    /// Returns the endpoint of a path. A path outside of `/api` without an endpoint may be a file
    /// of the page.
    pub(super) fn of(path: &'p str) -> Option<Self> {
        let Some(api) = path.strip_prefix("/api/") else {
            return Some(match path {
                "/healthz" => Self::Health,
                "/readyz" => Self::Ready,
                "/metrics" => Self::Metrics,
                "/reload" => Self::Reload,
                path => Self::Page(path),
            });
        };
        let endpoint = match api {
            "session" => Self::Session,
            "deliveries" => Self::Deliveries,
            "events/forget" => Self::Forget,
            "stream" => Self::Stream,
            "status" => Self::Status,
            "config" => Self::Configuration,
            "queue" => Self::Queue,
            "queue/retry" => Self::RetryEntries,
            "queue/drop" => Self::DropEntries,
            _ => {
                return match api.strip_prefix("queue/") {
                    Some(path) => Self::of_entry(path),
                    None => Self::of_delivery(api.strip_prefix("deliveries/")?),
                };
            }
        };
        Some(endpoint)
    }

    /// Returns the endpoint of a path below `/api/queue/`.
    fn of_entry(path: &str) -> Option<Self> {
        let (id, part) = split(path);
        // `parse` also accepts a sign.
        let is_number = id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.parse().ok().filter(|_| is_number)?;
        Some(match part {
            None => Self::QueueEntry(id),
            Some("capture") => Self::QueueCapture(id),
            Some("body") => Self::QueueBody(id),
            Some("retry") => Self::RetryEntry(id),
            Some(_) => return None,
        })
    }

    /// Returns the endpoint of a path below `/api/deliveries/`.
    fn of_delivery(path: &'p str) -> Option<Self> {
        let (id, part) = split(path);
        if !is_request_id(id) {
            return None;
        }
        Some(match part {
            None => Self::Delivery(id),
            Some("explanation") => Self::Explanation(id),
            Some("capture") => Self::Capture(id),
            Some("body") => Self::Body(id),
            Some("resend") => Self::Resend(id),
            Some(_) => return None,
        })
    }

    /// Whether the endpoint needs no token, and exists without an inspector.
    pub(super) fn needs_no_token(self) -> bool {
        matches!(
            self,
            Self::Health | Self::Ready | Self::Metrics | Self::Reload
        )
    }

    /// Returns the methods that the endpoint allows, if `method` is not among them.
    pub(super) fn refused_method(self, method: &Method) -> Option<&'static str> {
        let (is_allowed, allowed) = match self {
            Self::Reload
            | Self::Resend(_)
            | Self::Forget
            | Self::RetryEntry(_)
            | Self::RetryEntries
            | Self::DropEntries => (method == Method::POST, "POST"),
            Self::QueueEntry(_) => (
                matches!(*method, Method::GET | Method::HEAD | Method::DELETE),
                "GET, HEAD, DELETE",
            ),
            _ => (method == Method::GET || method == Method::HEAD, "GET, HEAD"),
        };
        (!is_allowed).then_some(allowed)
    }
}

/// Splits a path after its first segment.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    }
}

/// Whether a text has the form of a request id, so that it is safe in a file name.
fn is_request_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0000000000000001";

    #[test]
    fn paths_name_endpoints() {
        let resend = format!("/api/deliveries/{ID}/resend");
        for (path, endpoint) in [
            ("/healthz", Endpoint::Health),
            ("/reload", Endpoint::Reload),
            ("/", Endpoint::Page("/")),
            ("/api", Endpoint::Page("/api")),
            ("/api/deliveries", Endpoint::Deliveries),
            ("/api/events/forget", Endpoint::Forget),
            (&resend, Endpoint::Resend(ID)),
            ("/api/queue", Endpoint::Queue),
            ("/api/queue/retry", Endpoint::RetryEntries),
            ("/api/queue/17", Endpoint::QueueEntry(EntryId(17))),
            ("/api/queue/17/retry", Endpoint::RetryEntry(EntryId(17))),
        ] {
            assert_eq!(Endpoint::of(path), Some(endpoint), "{path}");
        }
        for path in [
            "/api/",
            "/api/other",
            "/api/deliveries/",
            "/api/deliveries/../config",
            "/api/deliveries/0123456789ABCDEF0000000000000001",
            "/api/deliveries/0123456789abcdef000000000000001",
            &format!("/api/deliveries/{ID}/"),
            &format!("/api/deliveries/{ID}/body/"),
            &format!("{resend}/"),
            "/api/queue/",
            "/api/queue/+1",
            "/api/queue/-1",
            "/api/queue/99999999999999999999",
            "/api/queue/1/drop",
        ] {
            assert_eq!(Endpoint::of(path), None, "{path}");
        }
    }

    #[test]
    fn acts_need_their_method() {
        assert_eq!(Endpoint::Forget.refused_method(&Method::GET), Some("POST"));
        assert_eq!(Endpoint::Reload.refused_method(&Method::GET), Some("POST"));
        assert_eq!(Endpoint::Forget.refused_method(&Method::POST), None);
        assert_eq!(
            Endpoint::Status.refused_method(&Method::DELETE),
            Some("GET, HEAD")
        );
        let entry = Endpoint::QueueEntry(EntryId(1));
        assert_eq!(entry.refused_method(&Method::DELETE), None);
        assert_eq!(
            entry.refused_method(&Method::POST),
            Some("GET, HEAD, DELETE")
        );
        assert_eq!(
            Endpoint::DropEntries.refused_method(&Method::DELETE),
            Some("POST")
        );
        assert_eq!(Endpoint::Health.refused_method(&Method::HEAD), None);
    }
}

//! The endpoints of the admin address.

use hookgate_queue::EntryId;
use http::Method;

/// The methods of an endpoint that only reads.
const READING: &str = "GET, HEAD";

/// The endpoint that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint<'p> {
    Monitoring(Monitoring),
    /// A file of the page; the page itself is `/`.
    Page(&'p str),
    Api(ApiEndpoint<'p>),
}

/// An endpoint that needs no token, and exists without an inspector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Monitoring {
    Health,
    Ready,
    Metrics,
    Reload,
}

/// An endpoint below `/api`, which needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ApiEndpoint<'p> {
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
                "/healthz" => Self::Monitoring(Monitoring::Health),
                "/readyz" => Self::Monitoring(Monitoring::Ready),
                "/metrics" => Self::Monitoring(Monitoring::Metrics),
                "/reload" => Self::Monitoring(Monitoring::Reload),
                path => Self::Page(path),
            });
        };
        ApiEndpoint::of(api).map(Self::Api)
    }

    /// Returns the methods that the endpoint allows, if `method` is not among them.
    pub(super) fn refused_method(self, method: &Method) -> Option<&'static str> {
        let allowed = match self {
            Self::Monitoring(Monitoring::Reload) => "POST",
            Self::Monitoring(_) | Self::Page(_) => READING,
            Self::Api(api) => api.allowed_methods(),
        };
        let is_allowed = allowed.split(", ").any(|name| name == method.as_str());
        (!is_allowed).then_some(allowed)
    }
}

impl<'p> ApiEndpoint<'p> {
    /// Returns the endpoint of a path below `/api/`.
    fn of(api: &'p str) -> Option<Self> {
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

    /// Returns whether the endpoint has parameters in the query.
    pub(super) fn takes_query(self) -> bool {
        matches!(self, Self::Deliveries | Self::Stream | Self::Queue)
    }

    fn allowed_methods(self) -> &'static str {
        match self {
            Self::Resend(_)
            | Self::Forget
            | Self::RetryEntry(_)
            | Self::RetryEntries
            | Self::DropEntries => "POST",
            Self::QueueEntry(_) => "GET, HEAD, DELETE",
            _ => READING,
        }
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
    use super::Endpoint::Api;
    use super::*;

    const ID: &str = "0123456789abcdef0000000000000001";

    #[test]
    fn paths_name_endpoints() {
        let resend = format!("/api/deliveries/{ID}/resend");
        for (path, endpoint) in [
            ("/healthz", Endpoint::Monitoring(Monitoring::Health)),
            ("/reload", Endpoint::Monitoring(Monitoring::Reload)),
            ("/", Endpoint::Page("/")),
            ("/api", Endpoint::Page("/api")),
            ("/api/deliveries", Api(ApiEndpoint::Deliveries)),
            ("/api/events/forget", Api(ApiEndpoint::Forget)),
            (&resend, Api(ApiEndpoint::Resend(ID))),
            ("/api/queue", Api(ApiEndpoint::Queue)),
            ("/api/queue/retry", Api(ApiEndpoint::RetryEntries)),
            ("/api/queue/17", Api(ApiEndpoint::QueueEntry(EntryId(17)))),
            (
                "/api/queue/17/retry",
                Api(ApiEndpoint::RetryEntry(EntryId(17))),
            ),
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
        let entry = Api(ApiEndpoint::QueueEntry(EntryId(1)));
        for (endpoint, method, refused) in [
            (Api(ApiEndpoint::Forget), Method::GET, Some("POST")),
            (Api(ApiEndpoint::Forget), Method::POST, None),
            (Api(ApiEndpoint::DropEntries), Method::DELETE, Some("POST")),
            (Api(ApiEndpoint::Status), Method::DELETE, Some("GET, HEAD")),
            (entry, Method::DELETE, None),
            (entry, Method::POST, Some("GET, HEAD, DELETE")),
            (
                Endpoint::Monitoring(Monitoring::Reload),
                Method::GET,
                Some("POST"),
            ),
            (Endpoint::Monitoring(Monitoring::Health), Method::HEAD, None),
        ] {
            assert_eq!(endpoint.refused_method(&method), refused, "{endpoint:?}");
        }
    }
}

//! Types for the values of single keys. Each type holds valid values only.
//!
//! `EXPECTED` completes the sentence "expected …" in messages and in the description of a
//! missing key.

use std::net::SocketAddr;
use std::time::Duration;

use hookgate_core::internal::{FromValue, JsonStep, Value, text};
use hookgate_gate::{
    BodyLimit, Dedupe, DeliveryGuarantee, Mode, OnConflict, OnDuplicate, QueueMode,
};
use hookgate_queue::Order;
use hookgate_replay::Durability;
use http::HeaderName;
use http::uri::Authority;

use super::transport_address::{is_unix, unix_path};
use super::{
    Balance, CaptureScope, Network, Permission, Redaction, ServerAddress, TcpServer,
    TransportAddress,
};
use crate::telemetry::access_log::AccessLogTarget;

/// A TCP address to listen on, where a Unix socket is not possible.
pub(super) struct Address(pub(super) SocketAddr);

impl FromValue for Address {
    const EXPECTED: &'static str = "an address such as \"0.0.0.0:8080\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        if value.as_str().is_some_and(is_unix) {
            let expected = Self::EXPECTED;
            return Err(format!(
                "only `listen` of [server], without TLS, accepts Unix sockets; expected {expected}"
            ));
        }
        text(value, |text| text.parse().ok().map(Self))
    }
}

/// A network, or a single IP address.
pub(super) struct Cidr(pub(super) Network);

impl FromValue for Cidr {
    const EXPECTED: &'static str = "a network such as \"10.0.0.0/8\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| text.parse().ok().map(Self))
    }
}

/// The kind of replay store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StoreKind {
    #[default]
    Memory,
    Disk,
    Redis,
}

impl StoreKind {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Redis];

    /// Returns the value of `replay.store` for this kind.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Redis => "redis",
        }
    }
}

impl FromValue for StoreKind {
    const EXPECTED: &'static str = "\"memory\", \"disk\" or \"redis\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            Self::ALL.into_iter().find(|kind| kind.name() == text)
        })
    }
}

/// The kind of queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueueKind {
    Disk,
    Nats,
}

impl QueueKind {
    pub(super) const ALL: [Self; 2] = [Self::Disk, Self::Nats];

    /// Returns the value of `queue.store` for this kind.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Nats => "nats",
        }
    }
}

impl FromValue for QueueKind {
    const EXPECTED: &'static str = "\"disk\" or \"nats\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            Self::ALL.into_iter().find(|kind| kind.name() == text)
        })
    }
}

/// A number of bytes on a disk, at least 1 MiB.
pub(super) struct Space(pub(super) u64);

impl FromValue for Space {
    const EXPECTED: &'static str = "a size with a unit, such as \"10GiB\", of at least 1MiB";

    fn from_value(value: &Value) -> Result<Self, String> {
        const MIN_SPACE: u64 = 1024 * 1024;
        // SQLite and JetStream count bytes in signed numbers.
        const MAX_SPACE: u64 = i64::MAX as u64;
        text(value, |text| {
            let size = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
            let is_sound = text.ends_with(['b', 'B']) && (MIN_SPACE..=MAX_SPACE).contains(&size);
            is_sound.then_some(Self(size))
        })
    }
}

/// The value of `keep_dead`. `None` means forever.
pub(super) struct KeepDead(pub(super) Option<Duration>);

impl FromValue for KeepDead {
    const EXPECTED: &'static str = "\"forever\", or a duration such as \"90d\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "forever" => Some(Self(None)),
            _ => {
                let keep = humantime::parse_duration(text).ok()?;
                (!keep.is_zero()).then_some(Self(Some(keep)))
            }
        })
    }
}

/// The name of a JetStream stream, which is also the first token of its subjects.
pub(super) struct StreamName(pub(super) String);

impl FromValue for StreamName {
    const EXPECTED: &'static str = "a name of 1 to 64 letters, digits, hyphens and underscores";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let is_sound = (1..=64).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            is_sound.then(|| Self(text.to_owned()))
        })
    }
}

/// The factor by which each wait of a schedule is longer than the last.
pub(super) struct Factor(pub(super) f64);

impl FromValue for Factor {
    const EXPECTED: &'static str = "a number from 1 to 100";

    fn from_value(value: &Value) -> Result<Self, String> {
        let number = value
            .as_float()
            .or_else(|| Some(f64::from(i32::try_from(value.as_integer()?).ok()?)));
        number
            .filter(|number| (1.0..=100.0).contains(number))
            .map(Self)
            .ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }
}

/// A server of an upstream. Its name has not been resolved.
pub(super) struct Server(pub(super) ServerAddress);

impl Server {
    /// Returns whether the server uses TLS, its host and its port.
    fn parse(text: &str) -> Option<(bool, String, u16)> {
        let (scheme, authority) = text.split_once("://").unwrap_or(("", text));
        let (secure, port) = match scheme {
            "" => (false, None),
            "http" => (false, Some(80)),
            "https" => (true, Some(443)),
            _ => return None,
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let authority = authority.parse::<Authority>().ok()?;
        let port = authority.port_u16().or(port)?;
        let host = authority.host().trim_matches(['[', ']']);
        let is_host = !host.is_empty() && !authority.as_str().contains('@');
        is_host.then(|| (secure, host.to_owned(), port))
    }
}

impl FromValue for Server {
    const EXPECTED: &'static str =
        "HOST:PORT, http://HOST or https://HOST, with or without a port, or unix:/PATH";

    fn from_value(value: &Value) -> Result<Self, String> {
        let expected = || format!("expected {}", Self::EXPECTED);
        let text = value.as_str().ok_or_else(expected)?;
        if let Some((_, rest)) = text.split_once("://")
            && is_unix(rest)
        {
            return Err(
                "a Unix socket has no scheme and no TLS; expected \"unix:/PATH\" alone".to_owned(),
            );
        }
        if is_unix(text) {
            let path = unix_path(text).ok_or_else(|| {
                let expected = TransportAddress::EXPECTED;
                format!("expected {expected}")
            })?;
            return Ok(Self(ServerAddress::Unix(path)));
        }
        let (secure, host, port) = Self::parse(text).ok_or_else(expected)?;
        Ok(Self(ServerAddress::Tcp(TcpServer {
            secure,
            host,
            port,
            addresses: Vec::new(),
        })))
    }
}

/// The value of `protocol`: HTTP/1.1, HTTP/2 over TLS, or HTTP/2 without TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Protocol {
    #[default]
    Http1,
    H2,
    H2c,
}

impl FromValue for Protocol {
    const EXPECTED: &'static str = "\"http1\", \"h2\" or \"h2c\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "http1" => Some(Self::Http1),
            "h2" => Some(Self::H2),
            "h2c" => Some(Self::H2c),
            _ => None,
        })
    }
}

/// A number of bytes, at least 1 and at most 1 GiB.
pub(super) struct Size(pub(super) BodyLimit);

impl FromValue for Size {
    const EXPECTED: &'static str = "a size with a unit, such as \"1MiB\", of at most 1GiB";

    fn from_value(value: &Value) -> Result<Self, String> {
        const MAX_SIZE: u64 = 1024 * 1024 * 1024;
        text(value, |text| {
            let size = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
            let is_sound = text.ends_with(['b', 'B']) && size <= MAX_SIZE;
            BodyLimit::new(usize::try_from(size).ok()?)
                .filter(|_| is_sound)
                .map(Self)
        })
    }
}

/// The name of a source. It appears in headers, metric labels and logs.
pub(super) struct Name(pub(super) String);

impl FromValue for Name {
    const EXPECTED: &'static str = "a name of 1 to 64 visible ASCII characters";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let is_sound =
                (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
            is_sound.then(|| Self(text.to_owned()))
        })
    }
}

/// The path of a URL, without a query.
pub(super) struct RoutePath(pub(super) String);

impl FromValue for RoutePath {
    const EXPECTED: &'static str = "a path such as \"/hooks/beatapi\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let is_sound = text.starts_with('/')
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
            is_sound.then(|| Self(text.to_owned()))
        })
    }
}

/// A host name in lower case.
pub(super) struct Host(pub(super) String);

impl FromValue for Host {
    const EXPECTED: &'static str = "a host name without a scheme or port";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let text = text.trim_end_matches('.');
            let authority = text.parse::<http::uri::Authority>().ok()?;
            (authority.host() == text).then(|| Self(text.to_ascii_lowercase()))
        })
    }
}

/// An item of `redact`: a header name, or a JSON pointer into the body.
pub(super) struct RedactedValue(pub(super) Redaction);

impl FromValue for RedactedValue {
    const EXPECTED: &'static str = "a header name, or a JSON pointer such as \"/card/number\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let redaction = match text.starts_with('/') {
                true => {
                    JsonStep::of_pointer(text)?;
                    Redaction::Pointer(text.to_owned())
                }
                false => Redaction::Header(HeaderName::try_from(text).ok()?),
            };
            Some(Self(redaction))
        })
    }
}

/// The value of `mismatch_status`.
pub(super) enum MismatchStatus {
    /// 401: senders may give up.
    Refuse,
    /// 503: senders retry.
    Retry,
}

impl FromValue for MismatchStatus {
    const EXPECTED: &'static str = "401 or 503";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_integer() {
            Some(401) => Ok(Self::Refuse),
            Some(503) => Ok(Self::Retry),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

/// A value of a type of another module that the configuration spells as a keyword or a status
/// code: [`Mode`], [`Dedupe`], [`OnDuplicate`], [`OnConflict`], [`DeliveryGuarantee`],
/// [`Durability`], [`Balance`], [`AccessLogTarget`], [`CaptureScope`], [`Permission`],
/// [`QueueMode`] and [`Order`].
pub(super) struct Keyword<T>(pub(super) T);

impl FromValue for Keyword<Durability> {
    const EXPECTED: &'static str = "\"process\" or \"power\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "process" => Some(Self(Durability::Process)),
            "power" => Some(Self(Durability::Power)),
            _ => None,
        })
    }
}

impl FromValue for Keyword<AccessLogTarget> {
    const EXPECTED: &'static str = "\"stdout\", \"stderr\", \"off\" or \"file:PATH\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| AccessLogTarget::parse(text).map(Self))
    }
}

impl FromValue for Keyword<CaptureScope> {
    const EXPECTED: &'static str = "\"none\", \"refused\" or \"all\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        let scopes = [CaptureScope::None, CaptureScope::Refused, CaptureScope::All];
        text(value, |text| {
            let scope = scopes.into_iter().find(|scope| scope.name() == text);
            scope.map(Self)
        })
    }
}

impl FromValue for Keyword<Permission> {
    const EXPECTED: &'static str = "\"read\" or \"act\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "read" => Some(Self(Permission::Read)),
            "act" => Some(Self(Permission::Act)),
            _ => None,
        })
    }
}

impl FromValue for Keyword<QueueMode> {
    const EXPECTED: &'static str = "\"off\", \"on_failure\" or \"always\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "off" => Some(Self(QueueMode::Off)),
            "on_failure" => Some(Self(QueueMode::OnFailure)),
            "always" => Some(Self(QueueMode::Always)),
            _ => None,
        })
    }
}

impl FromValue for Keyword<Order> {
    const EXPECTED: &'static str = "\"any\" or \"source\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "any" => Some(Self(Order::Any)),
            "source" => Some(Self(Order::Source)),
            _ => None,
        })
    }
}

impl FromValue for Keyword<Mode> {
    const EXPECTED: &'static str = "\"enforce\" or \"observe\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "enforce" => Some(Self(Mode::Enforce)),
            "observe" => Some(Self(Mode::Observe)),
            _ => None,
        })
    }
}

impl FromValue for Keyword<Balance> {
    const EXPECTED: &'static str = "\"round_robin\", \"least_requests\" or \"hash\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "round_robin" => Some(Self(Balance::RoundRobin)),
            "least_requests" => Some(Self(Balance::LeastRequests)),
            "hash" => Some(Self(Balance::Hash)),
            _ => None,
        })
    }
}

/// `true` and `false` are the older values of `dedupe`.
impl FromValue for Keyword<Dedupe> {
    const EXPECTED: &'static str = "\"content\", \"delivery_id\" or \"off\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match (value.as_str(), value.as_bool()) {
            (Some("content"), _) | (_, Some(true)) => Ok(Self(Dedupe::Content)),
            (Some("delivery_id"), _) => Ok(Self(Dedupe::DeliveryId)),
            (Some("off"), _) | (_, Some(false)) => Ok(Self(Dedupe::Off)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl FromValue for Keyword<OnDuplicate> {
    const EXPECTED: &'static str = "200 or 409";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_integer() {
            Some(200) => Ok(Self(OnDuplicate::Acknowledge)),
            Some(409) => Ok(Self(OnDuplicate::Conflict)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl FromValue for Keyword<OnConflict> {
    const EXPECTED: &'static str = "\"count\" or \"reject\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("count") => Ok(Self(OnConflict::Count)),
            Some("reject") => Ok(Self(OnConflict::Reject)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl FromValue for Keyword<DeliveryGuarantee> {
    const EXPECTED: &'static str = "\"at_least_once\" or \"at_most_once\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("at_least_once") => Ok(Self(DeliveryGuarantee::AtLeastOnce)),
            Some("at_most_once") => Ok(Self(DeliveryGuarantee::AtMostOnce)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

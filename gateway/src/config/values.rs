//! The values of single keys, each in a type that cannot hold a bad one.

use std::net::{SocketAddr, ToSocketAddrs};

use hookgate_core::document::{FromValue, text};
use hookgate_gate::{BodyLimit, Mode, OnConflict, OnDuplicate, Promise};
use hookgate_replay::Durability;
use toml::Value;

use crate::access::Target;

pub(super) struct Address(pub(super) SocketAddr);

impl FromValue for Address {
    const EXPECTED: &'static str = "an address such as \"0.0.0.0:8080\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| text.parse().ok().map(Self))
    }
}

/// Where events are remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StoreKind {
    #[default]
    Memory,
    Disk,
    Redis,
}

impl StoreKind {
    const ALL: [Self; 3] = [Self::Memory, Self::Disk, Self::Redis];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Redis => "redis",
        }
    }
}

impl FromValue for StoreKind {
    const EXPECTED: &'static str = "memory, disk or redis";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            Self::ALL.into_iter().find(|kind| kind.name() == text)
        })
    }
}

/// The addresses of one HOST:PORT.
pub(super) struct Servers(pub(super) Vec<SocketAddr>);

impl FromValue for Servers {
    const EXPECTED: &'static str = "HOST:PORT of a host that resolves";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            Some(Self(text.to_socket_addrs().ok()?.collect()))
        })
    }
}

pub(super) struct Size(pub(super) BodyLimit);

impl FromValue for Size {
    const EXPECTED: &'static str = "a size with a unit, such as \"1MiB\", of at most 1GiB";

    fn from_value(value: &Value) -> Result<Self, String> {
        const MOST: u64 = 1024 * 1024 * 1024;
        text(value, |text| {
            let size = text.parse::<bytesize::ByteSize>().ok()?.as_u64();
            let is_sound = text.ends_with(['b', 'B']) && size <= MOST;
            BodyLimit::new(usize::try_from(size).ok()?)
                .filter(|_| is_sound)
                .map(Self)
        })
    }
}

/// A name that goes into headers and metrics.
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

/// A path that is matched to the letter.
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

pub(super) struct Host(pub(super) String);

impl FromValue for Host {
    const EXPECTED: &'static str = "a host name without scheme and port";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| {
            let text = text.trim_end_matches('.');
            let authority = text.parse::<http::uri::Authority>().ok()?;
            (authority.host() == text).then(|| Self(text.to_ascii_lowercase()))
        })
    }
}

pub(super) enum MismatchStatus {
    Refuse,
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

/// [`Mode`], [`OnDuplicate`], [`OnConflict`], [`Promise`] and [`Durability`] as they are written
/// here.
pub(super) struct Word<T>(pub(super) T);

impl FromValue for Word<Durability> {
    const EXPECTED: &'static str = "process or power";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "process" => Some(Self(Durability::Process)),
            "power" => Some(Self(Durability::Power)),
            _ => None,
        })
    }
}

impl FromValue for Word<Target> {
    const EXPECTED: &'static str = "stdout, stderr or off";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "stdout" => Some(Self(Target::Stdout)),
            "stderr" => Some(Self(Target::Stderr)),
            "off" => Some(Self(Target::Off)),
            _ => None,
        })
    }
}

impl FromValue for Word<Mode> {
    const EXPECTED: &'static str = "enforce or observe";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text {
            "enforce" => Some(Self(Mode::Enforce)),
            "observe" => Some(Self(Mode::Observe)),
            _ => None,
        })
    }
}

impl FromValue for Word<OnDuplicate> {
    const EXPECTED: &'static str = "200 or 409";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_integer() {
            Some(200) => Ok(Self(OnDuplicate::Acknowledge)),
            Some(409) => Ok(Self(OnDuplicate::Conflict)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl FromValue for Word<OnConflict> {
    const EXPECTED: &'static str = "\"count\" or \"reject\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("count") => Ok(Self(OnConflict::Count)),
            Some("reject") => Ok(Self(OnConflict::Reject)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

impl FromValue for Word<Promise> {
    const EXPECTED: &'static str = "\"at_least_once\" or \"at_most_once\"";

    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some("at_least_once") => Ok(Self(Promise::AtLeastOnce)),
            Some("at_most_once") => Ok(Self(Promise::AtMostOnce)),
            _ => Err(format!("expected {}", Self::EXPECTED)),
        }
    }
}

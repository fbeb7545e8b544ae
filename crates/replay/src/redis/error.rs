//! The internal errors of the Redis store. They end up as the source of a `StoreError`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use ::redis::{ParsingError, RedisError};

/// A connection could not be opened, or the server at its end is not suitable.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The configuration does not lead to any server.
    NoServer,
    /// The client library rejected the address or the certificates.
    Client(RedisError),
    Failed {
        address: String,
        source: RedisError,
    },
    Timeout {
        address: String,
        timeout: Duration,
    },
    UnknownMaster {
        name: String,
    },
    Sentinel {
        address: String,
        source: RedisError,
    },
    SentinelTimeout {
        address: String,
        timeout: Duration,
    },
    /// The server answers, but it would lose or refuse claims.
    Unsuitable {
        address: String,
        problem: String,
        source: Option<RedisError>,
    },
    /// The server did not report whether it has lost data.
    Probe(ScriptError),
}

/// A script did not return a usable reply.
#[derive(Debug)]
pub(super) enum ScriptError {
    Redis(RedisError),
    Timeout(Duration),
    /// The reply carries the token of another command.
    OtherCommand,
    /// The reply is not a text.
    NotText(ParsingError),
    /// The reply is a text that the script does not produce.
    Malformed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => f.write_str("no server is known"),
            Self::Client(error) => error.fmt(f),
            Self::Failed { address, .. } => write!(f, "cannot connect to {address}"),
            Self::Timeout { address, timeout } => {
                write!(
                    f,
                    "cannot connect to {address}: no answer within {timeout:?}"
                )
            }
            Self::UnknownMaster { name } => write!(f, "no sentinel knows the master {name}"),
            Self::Sentinel { address, .. } => {
                write!(f, "sentinel {address} did not name the master")
            }
            Self::SentinelTimeout { address, timeout } => {
                write!(f, "sentinel {address}: no answer within {timeout:?}")
            }
            Self::Unsuitable {
                address, problem, ..
            } => write!(f, "{address} is not used: {problem}"),
            Self::Probe(_) => f.write_str("the server did not report whether it has lost data"),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Failed { source, .. } | Self::Sentinel { source, .. } => Some(source),
            Self::Unsuitable { source, .. } => source
                .as_ref()
                .map(|source| source as &(dyn Error + 'static)),
            Self::Probe(source) => Some(source),
            Self::NoServer
            | Self::Timeout { .. }
            | Self::UnknownMaster { .. }
            | Self::SentinelTimeout { .. } => None,
        }
    }
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => error.fmt(f),
            Self::Timeout(timeout) => write!(f, "no answer within {timeout:?}"),
            Self::OtherCommand => f.write_str("the server's reply belongs to another command"),
            Self::NotText(_) | Self::Malformed => {
                f.write_str("the server's reply does not come from the script")
            }
        }
    }
}

impl Error for ScriptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Redis(error) => error.source(),
            Self::NotText(source) => Some(source),
            Self::Timeout(_) | Self::OtherCommand | Self::Malformed => None,
        }
    }
}

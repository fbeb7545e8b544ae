//! The reasons why a request has no response, or no complete one.

use std::fmt::{self, Display};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::ErrorType;

use crate::cli::Error;
use crate::stream::handshake_fault;

/// The reason why there is no response, or no complete one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ClientError {
    /// No address of the server accepts a connection.
    Unreachable {
        address: SocketAddr,
        fault: ConnectFault,
    },
    /// The connection failed before the end of the response.
    Broken { host: String, cause: String },
    /// The response did not arrive in time.
    TimedOut { host: String, after: Duration },
    /// The body of the response exceeds the limit of the command.
    TooLarge { host: String, limit: usize },
}

/// The reason why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ConnectFault {
    Refused,
    TimedOut,
    NoRoute,
    /// The TLS handshake failed.
    Tls(String),
    Other(String),
}

impl ClientError {
    pub(super) fn broken(host: &str, error: &pingora_core::Error) -> Self {
        Self::Broken {
            host: host.to_owned(),
            cause: cause(error),
        }
    }
}

impl ConnectFault {
    pub(super) fn of(error: &pingora_core::Error) -> Self {
        if let Some(fault) = handshake_fault(error) {
            return Self::Tls(fault.to_owned());
        }
        match error.etype() {
            ErrorType::ConnectRefused => Self::Refused,
            ErrorType::ConnectTimedout => Self::TimedOut,
            ErrorType::ConnectNoRoute => Self::NoRoute,
            ErrorType::TLSHandshakeFailure
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::InvalidCert => Self::Tls(cause(error)),
            _ => Self::Other(cause(error)),
        }
    }
}

/// Describes the root of an error. The text of pingora names its own functions.
fn cause(error: &pingora_core::Error) -> String {
    const CLOSED: &str = "the server closed the connection";
    let root = error.root_cause();
    let io = root.downcast_ref::<io::Error>().map(io::Error::kind);
    match (error.root_etype(), io) {
        (ErrorType::ConnectionClosed, _) => CLOSED.to_owned(),
        (_, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)) => CLOSED.to_owned(),
        (_, Some(io::ErrorKind::ConnectionReset)) => "the server reset the connection".to_owned(),
        (ErrorType::InvalidHTTPHeader, _) => format!("the response is not HTTP/1: {root}"),
        _ => root.to_string().trim().to_owned(),
    }
}

impl Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, fault } => match fault {
                ConnectFault::Refused => write!(f, "connection refused at {address}"),
                ConnectFault::TimedOut => write!(f, "{address} does not answer"),
                ConnectFault::NoRoute => write!(f, "there is no route to {address}"),
                ConnectFault::Tls(cause) => {
                    write!(f, "the TLS handshake with {address} failed: {cause}")
                }
                ConnectFault::Other(cause) => write!(f, "cannot connect to {address}: {cause}"),
            },
            Self::Broken { host, cause } => {
                write!(f, "no complete response from {host}: {cause}")
            }
            Self::TimedOut { host, after } => {
                write!(f, "no complete response from {host} within {after:?}")
            }
            Self::TooLarge { host, limit } => {
                write!(f, "the response of {host} has more than {limit} bytes")
            }
        }
    }
}

impl std::error::Error for ClientError {}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::new(error)
    }
}

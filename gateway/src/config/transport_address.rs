//! Addresses to listen on and to connect to: TCP addresses, and the paths of Unix sockets.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use hookgate_core::internal::{FromValue, Value, text};

/// Maximum number of listening sockets that an upgrade can hand over. Linux passes at most this many
/// descriptors in one message (`SCM_MAX_FD`).
pub(crate) const MAX_SOCKETS: usize = 253;

/// The prefix of the path of a Unix socket.
const UNIX: &str = "unix:";

/// The maximum length of the path of a Unix socket in bytes (`sun_path` without its NUL).
const MAX_PATH: usize = 107;

/// The address of a listening socket, or of one backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TransportAddress {
    Tcp(SocketAddr),
    /// The path of a Unix socket, see [`unix_path`].
    Unix(Arc<Path>),
}

impl TransportAddress {
    /// Reads a TCP address, or `unix:` and a path.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.starts_with(UNIX) {
            true => unix_path(text).map(Self::Unix),
            false => text.parse().ok().map(Self::Tcp),
        }
    }
}

/// Returns the path in `unix:PATH`.
///
/// The path is absolute, it fits into a socket address, and it consists of visible ASCII without
/// quotes and backslashes. It can thus stand in a log line and in the messages of an upgrade.
pub(super) fn unix_path(text: &str) -> Option<Arc<Path>> {
    let path = text.strip_prefix(UNIX)?;
    let is_sound = path.starts_with('/')
        && !path.ends_with('/')
        && path.len() <= MAX_PATH
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte));
    is_sound.then(|| Path::new(path).into())
}

/// Returns whether the text is meant as a Unix socket, whether or not it is valid.
pub(super) fn is_unix(text: &str) -> bool {
    text.starts_with(UNIX)
}

impl FromValue for TransportAddress {
    const EXPECTED: &'static str = "an address such as \"0.0.0.0:8080\", or \"unix:\" and an \
                                    absolute path of at most 107 visible ASCII characters";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, Self::parse)
    }
}

impl From<SocketAddr> for TransportAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for TransportAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_tcp_address_or_a_path() {
        for text in ["127.0.0.1:8080", "[::]:0", "unix:/run/hookgate/in.sock"] {
            let address = TransportAddress::parse(text).expect("an address");
            assert_eq!(address.to_string(), text);
        }
        let longest = format!("unix:/{}", "a".repeat(MAX_PATH - 1));
        assert!(TransportAddress::parse(&longest).is_some());
        for text in [
            "",
            "localhost:80",
            "127.0.0.1",
            "unix:",
            "unix:in.sock",
            "unix:/",
            "unix:/run/",
            "unix:/run/a b",
            "unix:/run/\"a\"",
            "unix:/run/\u{e4}",
            "/run/in.sock",
            &format!("{longest}a"),
        ] {
            assert_eq!(TransportAddress::parse(text), None, "{text}");
        }
    }
}

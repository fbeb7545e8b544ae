//! [`Target`]: the servers of a queue, parsed from a URL.

use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

/// The servers of a queue, with the credentials for them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) hosts: Vec<Host>,
    pub(super) tls: bool,
    pub(super) login: Option<Login>,
}

/// The credentials in a URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Password { user: String, password: String },
    Token(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    name: String,
    port: u16,
}

/// The URL of a queue is invalid.
///
/// The message says what was expected. It does not repeat any part of the URL, because a
/// mistyped URL can have its password anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsUrlError(&'static str);

const FORMS: &str = "nats://HOST:PORT or tls://HOST:PORT, with USER:PASSWORD@ or TOKEN@ before \
    the host, and with further servers as HOST:PORT,HOST:PORT";

const NATS_PORT: u16 = 4222;

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, NatsUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(NatsUrlError(FORMS))?;
        let tls = match scheme {
            "nats" => false,
            "tls" => true,
            _ => return Err(NatsUrlError(FORMS)),
        };
        // The last @ ends the credentials, because a password may contain an @ that is not
        // percent-encoded.
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(parse_login(login)?), hosts),
            None => (None, rest),
        };
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        Ok(Self {
            hosts: hosts.split(',').map(parse_host).collect::<Result<_, _>>()?,
            tls,
            login,
        })
    }

    /// Returns the addresses for the client library, without credentials.
    pub(super) fn addresses(&self) -> Vec<String> {
        let scheme = self.scheme();
        let hosts = self.hosts.iter();
        hosts.map(|host| format!("{scheme}://{host}")).collect()
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "tls" } else { "nats" }
    }
}

/// Writes the URL without credentials.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(Host::to_string).collect();
        write!(f, "{}://{}", self.scheme(), hosts.join(","))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl fmt::Display for NatsUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid URL of the queue: expected {}", self.0)
    }
}

impl std::error::Error for NatsUrlError {}

fn parse_login(text: &str) -> Result<Login, NatsUrlError> {
    match text.split_once(':') {
        _ if text.is_empty() => Err(NatsUrlError("a user or a token before @")),
        None => Ok(Login::Token(decode(text)?)),
        Some(("", _) | (_, "")) => Err(NatsUrlError(
            "USER:PASSWORD@ before the host, both percent-encoded",
        )),
        Some((user, password)) => Ok(Login::Password {
            user: decode(user)?,
            password: decode(password)?,
        }),
    }
}

fn parse_host(text: &str) -> Result<Host, NatsUrlError> {
    let invalid = NatsUrlError("HOST or HOST:PORT, an IPv6 address in [ ], a port from 1 to 65535");
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or(invalid.clone())?;
            name.parse::<Ipv6Addr>().map_err(|_| invalid.clone())?;
            match rest {
                "" => (name, None),
                _ => (name, Some(rest.strip_prefix(':').ok_or(invalid.clone())?)),
            }
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let port = match port {
        None => Some(NATS_PORT),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
        Some(_) => None,
    };
    match port {
        Some(port @ 1..) if !name.is_empty() && name.chars().all(is_name) => Ok(Host {
            name: name.to_owned(),
            port,
        }),
        _ => Err(invalid),
    }
}

fn decode(text: &str) -> Result<String, NatsUrlError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| NatsUrlError("percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_url_is_parsed() {
        for (url, expected) in [
            ("nats://queue", "nats://queue:4222"),
            ("nats://queue:7000/", "nats://queue:7000"),
            ("tls://[::1]:4223", "tls://[::1]:4223"),
            ("nats://user:p%40ss@a,b:7", "nats://a:4222,b:7"),
            ("nats://t%3Aken@queue", "nats://queue:4222"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(target.to_string(), expected, "{url}");
        }
        let login = |url| Target::parse(url).unwrap().login;
        assert!(login("nats://queue").is_none());
        assert!(matches!(login("nats://t%3Aken@queue"), Some(Login::Token(t)) if t == "t:ken"));
        assert!(matches!(
            login("nats://user:p%40ss@queue"),
            Some(Login::Password { user, password }) if user == "user" && password == "p@ss"
        ));
    }

    #[test]
    fn an_invalid_url_is_refused_and_not_repeated_in_the_error() {
        for (url, expected) in [
            ("sekret", "nats://HOST:PORT"),
            ("http://sekret", "nats://HOST:PORT"),
            ("nats://", "HOST or HOST:PORT"),
            ("nats://queue:sekret", "a port from 1 to 65535"),
            ("nats://queue:0", "a port from 1 to 65535"),
            ("nats://queue/sekret", "HOST or HOST:PORT"),
            ("nats://queue,", "HOST or HOST:PORT"),
            ("nats://sekret:@queue", "USER:PASSWORD@"),
            ("nats://:sekret@queue", "USER:PASSWORD@"),
            ("nats://@queue", "a user or a token"),
            ("nats://[sekret]:1", "IPv6"),
            ("nats://sekret%FF@queue", "UTF-8"),
        ] {
            let error = Target::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            let text = error.to_string();
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("sekret"), "{url}: {text}");
        }
    }
}

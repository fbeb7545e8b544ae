//! [`Target`]: the address of a store, parsed from its URL.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// The servers of a store, with the credentials for them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

/// How the servers of a store are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topology {
    Node(Host),
    Unix(PathBuf),
    Sentinel { hosts: Vec<Host>, master: String },
    Cluster(Vec<Host>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) port: u16,
}

/// The URL of a store is invalid.
///
/// The message says what was expected. It does not repeat any part of the URL, because a
/// mistyped URL can have its password anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrlError(String);

const FORMS: &str = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=DB, \
    redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB or redis+cluster://HOST:PORT,HOST:PORT";

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The kind of endpoint that the scheme of a URL names.
#[derive(Clone, Copy)]
enum Kind {
    Socket,
    Servers(ServerKind),
}

/// The kind of servers behind the hosts of a URL.
#[derive(Clone, Copy)]
enum ServerKind {
    Node,
    Sentinel,
    Cluster,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(expected(FORMS));
        };
        let (kind, tls) = match scheme {
            "redis" | "valkey" => (Kind::Servers(ServerKind::Node), false),
            "rediss" | "valkeys" => (Kind::Servers(ServerKind::Node), true),
            "unix" | "redis+unix" => (Kind::Socket, false),
            "redis+sentinel" => (Kind::Servers(ServerKind::Sentinel), false),
            "rediss+sentinel" => (Kind::Servers(ServerKind::Sentinel), true),
            "redis+cluster" => (Kind::Servers(ServerKind::Cluster), false),
            "rediss+cluster" => (Kind::Servers(ServerKind::Cluster), true),
            _ => return Err(expected(FORMS)),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        // The last @ ends the credentials, because a password may contain an @ that is not
        // percent-encoded.
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (username, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
        let (topology, database) = match kind {
            Kind::Socket => parse_socket(hosts, path)?,
            Kind::Servers(kind) => parse_servers(kind, hosts, path)?,
        };
        Ok(Self {
            topology,
            tls,
            username,
            password,
            database,
        })
    }
}

/// Parses the hosts and the path of a URL with the number of a database.
fn parse_servers(
    kind: ServerKind,
    hosts: &str,
    path: &str,
) -> Result<(Topology, i64), RedisUrlError> {
    if path.contains(['?', '#']) {
        return Err(expected("no query and no fragment after the database"));
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match (kind, segments.as_slice()) {
        (ServerKind::Node, [] | [_]) => match parse_hosts(hosts, REDIS_PORT)?.as_slice() {
            [host] => {
                let database = parse_database(segments.first().copied())?;
                Ok((Topology::Node(host.clone()), database))
            }
            _ => Err(expected(
                "one host; several hosts need redis+sentinel:// or redis+cluster://",
            )),
        },
        (ServerKind::Node, _) => Err(expected(
            "at most a database after the host: redis://HOST:PORT/DB",
        )),
        (ServerKind::Sentinel, [master] | [master, _]) if !master.is_empty() => {
            let hosts = parse_hosts(hosts, SENTINEL_PORT)?;
            let master = decode(master)?;
            let database = parse_database(segments.get(1).copied())?;
            Ok((Topology::Sentinel { hosts, master }, database))
        }
        (ServerKind::Sentinel, _) => Err(expected(
            "the name of the master that the sentinels watch: \
             redis+sentinel://HOST:PORT,HOST:PORT/MASTER or …/MASTER/DB",
        )),
        (ServerKind::Cluster, [] | [""] | ["0"]) => {
            Ok((Topology::Cluster(parse_hosts(hosts, REDIS_PORT)?), 0))
        }
        (ServerKind::Cluster, _) => Err(expected("no path: a cluster has database 0 only")),
    }
}

/// Parses the path of a Unix socket with the query `db=DB`.
fn parse_socket(hosts: &str, path: &str) -> Result<(Topology, i64), RedisUrlError> {
    let (path, database) = match path.split_once('?') {
        None => (path, None),
        Some((path, query)) => match query.strip_prefix("db=") {
            Some(database) => (path, Some(database)),
            None => return Err(expected("nothing but db=DB after the path of the socket")),
        },
    };
    if !hosts.is_empty() || path.len() < 2 {
        return Err(expected(
            "an absolute path after unix://, as in unix:///run/redis.sock",
        ));
    }
    let topology = Topology::Unix(decode(path)?.into());
    Ok((topology, parse_database(database)?))
}

/// Writes the URL without credentials.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secure = if self.tls { "s" } else { "" };
        let list = |hosts: &[Host]| {
            let hosts: Vec<_> = hosts.iter().map(Host::to_string).collect();
            hosts.join(",")
        };
        match &self.topology {
            Topology::Node(host) => write!(f, "redis{secure}://{host}/{}", self.database),
            Topology::Unix(path) => write!(f, "unix://{}?db={}", path.display(), self.database),
            Topology::Sentinel { hosts, master } => {
                let hosts = list(hosts);
                write!(
                    f,
                    "redis{secure}+sentinel://{hosts}/{master}/{}",
                    self.database
                )
            }
            Topology::Cluster(hosts) => write!(f, "redis{secure}+cluster://{}", list(hosts)),
        }
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

impl fmt::Display for RedisUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid URL of the replay store: expected {}", self.0)
    }
}

impl std::error::Error for RedisUrlError {}

fn expected(what: &str) -> RedisUrlError {
    RedisUrlError(what.to_owned())
}

fn parse_credentials(text: &str) -> Result<(Option<String>, Option<String>), RedisUrlError> {
    let Some((username, password)) = text.split_once(':') else {
        return Err(expected(
            "USER:PASSWORD@ or :PASSWORD@ before the host, both percent-encoded",
        ));
    };
    if password.is_empty() {
        return Err(expected("a password between : and @ before the host"));
    }
    let username = match username {
        "" => None,
        name => Some(decode(name)?),
    };
    Ok((username, Some(decode(password)?)))
}

fn parse_hosts(text: &str, default_port: u16) -> Result<Vec<Host>, RedisUrlError> {
    text.split(',')
        .map(|host| parse_host(host, default_port))
        .collect()
}

fn parse_host(text: &str, default_port: u16) -> Result<Host, RedisUrlError> {
    let invalid = || expected("HOST or HOST:PORT, an IPv6 address in [ ], a port from 1 to 65535");
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or_else(invalid)?;
            name.parse::<Ipv6Addr>().map_err(|_| invalid())?;
            match rest {
                "" => (name, None),
                _ => (name, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
            }
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(invalid());
    }
    let port = match port {
        None => default_port,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| invalid())?
        }
        Some(_) => return Err(invalid()),
    };
    match port {
        0 => Err(invalid()),
        port => Ok(Host {
            name: name.to_owned(),
            port,
        }),
    }
}

fn parse_database(text: Option<&str>) -> Result<i64, RedisUrlError> {
    match text {
        None | Some("") => Ok(0),
        Some(text) if text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()) => text
            .parse()
            .map_err(|_| expected("the number of a database")),
        Some(_) => Err(expected("the number of a database, such as 0")),
    }
}

fn decode(text: &str) -> Result<String, RedisUrlError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| expected("percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_url_is_parsed() {
        for (url, expected) in [
            ("redis://cache", "redis://cache:6379/0"),
            ("redis://cache:7000/3", "redis://cache:7000/3"),
            ("valkey://cache/", "redis://cache:6379/0"),
            ("rediss://[::1]:6380", "rediss://[::1]:6380/0"),
            ("redis://user:p%40ss@cache", "redis://cache:6379/0"),
            ("redis://:a@b@cache", "redis://cache:6379/0"),
            ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
            (
                "redis+sentinel://a,b:7/main/4",
                "redis+sentinel://a:26379,b:7/main/4",
            ),
            ("rediss+cluster://a,b:7", "rediss+cluster://a:6379,b:7"),
        ] {
            let target = Target::parse(url).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(target.to_string(), expected, "{url}");
        }
        let target = Target::parse("redis://user:p%40ss@cache").unwrap();
        assert_eq!(target.username.as_deref(), Some("user"));
        assert_eq!(target.password.as_deref(), Some("p@ss"));
    }

    #[test]
    fn an_invalid_url_is_refused_and_not_repeated_in_the_error() {
        for (url, expected) in [
            ("sekret", "redis://HOST:PORT/DB"),
            ("http://sekret", "redis://HOST:PORT/DB"),
            ("redis://", "HOST or HOST:PORT"),
            ("redis://cache:sekret", "a port from 1 to 65535"),
            ("redis://cache:0", "a port from 1 to 65535"),
            ("redis://cache:+1", "a port from 1 to 65535"),
            ("redis://cache:99999", "a port from 1 to 65535"),
            ("redis://a,b", "one host"),
            ("redis://cache/sekret", "the number of a database"),
            ("redis://cache/0/sekret", "at most a database"),
            ("redis://cache/0?sekret=1", "no query"),
            ("redis://sekret@cache", ":PASSWORD@"),
            ("redis://user:@cache", "a password"),
            ("redis://[sekret]:1", "IPv6"),
            ("unix://run/redis.sock", "absolute path"),
            ("unix:///run/redis.sock?sekret=2", "db=DB"),
            ("redis+sentinel://a,b", "the name of the master"),
            (
                "redis+sentinel://a,b/main/0/sekret",
                "the name of the master",
            ),
            ("redis+cluster://a,b/1", "database 0 only"),
        ] {
            let error = Target::parse(url).err().unwrap_or_else(|| panic!("{url}"));
            let text = error.to_string();
            assert!(text.contains(expected), "{url}: {text}");
            assert!(!text.contains("sekret"), "{url}: {text}");
        }
    }
}

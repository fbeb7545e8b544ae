use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// Where a store is, as its URL says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) topology: Topology,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: i64,
}

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

/// A URL that names no store. Says what was expected, and nothing of what stood
/// there: it may be a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrlError(String);

const FORMS: &str = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB, unix:///PATH?db=DB, \
    redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB or redis+cluster://HOST:PORT,HOST:PORT";

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(expected(FORMS));
        };
        let (kind, tls) = match scheme {
            "redis" | "valkey" => ("node", false),
            "rediss" | "valkeys" => ("node", true),
            "unix" | "redis+unix" => ("unix", false),
            "redis+sentinel" => ("sentinel", false),
            "rediss+sentinel" => ("sentinel", true),
            "redis+cluster" => ("cluster", false),
            "rediss+cluster" => ("cluster", true),
            _ => return Err(expected(FORMS)),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        // The last @: the client library would take the first, and a password
        // with an @ in it would become part of a host's name.
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        let (username, password) = credentials.map_or(Ok((None, None)), parse_credentials)?;
        let default_port = if kind == "sentinel" { 26379 } else { 6379 };
        if kind != "unix" && path.contains(['?', '#']) {
            return Err(expected("no query and no fragment after the database"));
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (topology, database) = match (kind, segments.as_slice()) {
            ("unix", _) => return Self::unix(hosts, path, username, password),
            ("node", [] | [_]) => match hosts_of(hosts, default_port)?.as_slice() {
                [host] => (
                    Topology::Node(host.clone()),
                    database(segments.first().copied())?,
                ),
                _ => {
                    return Err(expected(
                        "one host; several need redis+sentinel:// or redis+cluster://",
                    ));
                }
            },
            ("sentinel", [master] | [master, _]) if !master.is_empty() => {
                let hosts = hosts_of(hosts, default_port)?;
                let master = decoded(master)?;
                (
                    Topology::Sentinel { hosts, master },
                    database(segments.get(1).copied())?,
                )
            }
            ("sentinel", _) => {
                return Err(expected(
                    "the name of the master that the sentinels watch: \
                     redis+sentinel://HOST:PORT,HOST:PORT/MASTER or …/MASTER/DB",
                ));
            }
            ("cluster", [] | [""] | ["0"]) => {
                (Topology::Cluster(hosts_of(hosts, default_port)?), 0)
            }
            ("cluster", _) => return Err(expected("no path: a cluster has database 0 only")),
            _ => {
                return Err(expected(
                    "at most a database after the host: redis://HOST:PORT/DB",
                ));
            }
        };
        Ok(Self {
            topology,
            tls,
            username,
            password,
            database,
        })
    }

    fn unix(
        hosts: &str,
        path: &str,
        username: Option<String>,
        password: Option<String>,
    ) -> Result<Self, RedisUrlError> {
        let (path, db) = match path.split_once('?') {
            None => (path, None),
            Some((path, query)) => match query.strip_prefix("db=") {
                Some(db) => (path, Some(db)),
                None => return Err(expected("nothing but db=DB after the path of the socket")),
            },
        };
        if !hosts.is_empty() || path.len() < 2 {
            return Err(expected(
                "an absolute path after unix://, as in unix:///run/redis.sock",
            ));
        }
        Ok(Self {
            topology: Topology::Unix(decoded(path)?.into()),
            tls: false,
            username,
            password,
            database: database(db)?,
        })
    }
}

/// Without credentials.
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
        write!(f, "the store's URL: expected {}", self.0)
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
        name => Some(decoded(name)?),
    };
    Ok((username, Some(decoded(password)?)))
}

fn hosts_of(text: &str, default_port: u16) -> Result<Vec<Host>, RedisUrlError> {
    text.split(',')
        .map(|host| parse_host(host, default_port))
        .collect()
}

fn parse_host(text: &str, default_port: u16) -> Result<Host, RedisUrlError> {
    let wrong = || expected("HOST or HOST:PORT, an IPv6 address in [ ], a port from 1 to 65535");
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, rest) = rest.split_once(']').ok_or_else(wrong)?;
            name.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            match rest {
                "" => (name, None),
                _ => (name, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
            }
        }
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(wrong());
    }
    let port = match port {
        None => default_port,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| wrong())?
        }
        Some(_) => return Err(wrong()),
    };
    match port {
        0 => Err(wrong()),
        port => Ok(Host {
            name: name.to_owned(),
            port,
        }),
    }
}

fn database(text: Option<&str>) -> Result<i64, RedisUrlError> {
    match text {
        None | Some("") => Ok(0),
        Some(text) if text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit()) => text
            .parse()
            .map_err(|_| expected("the number of a database")),
        Some(_) => Err(expected("the number of a database, such as 0")),
    }
}

fn decoded(text: &str) -> Result<String, RedisUrlError> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(Into::into)
        .map_err(|_| expected("percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        for (url, read) in [
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
            assert_eq!(target.to_string(), read, "{url}");
        }
        let target = Target::parse("redis://user:p%40ss@cache").unwrap();
        assert_eq!(target.username.as_deref(), Some("user"));
        assert_eq!(target.password.as_deref(), Some("p@ss"));
    }

    #[test]
    fn what_is_not_a_url_of_a_store_is_refused_without_repeating_it() {
        for (url, says) in [
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
            assert!(text.contains(says), "{url}: {text}");
            assert!(!text.contains("sekret"), "{url}: {text}");
        }
    }
}

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::internal::Section;

use super::positive;
use crate::config::values::{Keyword, Protocol, RoutePath, Server};
use crate::config::{HealthCheck, HealthProbe, HttpVersion, ServerAddress, UpstreamConfig};
use crate::upstream::tls::ClientFiles;

/// The tightest deadline that a first provider publishes is 10 s (BeeL).
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(8);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_MAX_IDLE: usize = 1024;
/// Less than the 5 s after which common servers close idle connections, because a
/// delivery that meets the closing cannot be repeated.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Of a service; a length that has one byte.
const MOST_OF_A_NAME: usize = 120;

pub(super) fn read(root: &Section<'_>) -> BTreeMap<String, UpstreamConfig> {
    if !root.has("upstreams") {
        root.wrong(
            "upstreams",
            "missing; expected at least one table [upstreams.NAME]",
        );
    }
    let read = |(name, section): (&str, Section<'_>)| (name.to_owned(), read_one(&section));
    root.named_sections("upstreams")
        .into_iter()
        .map(read)
        .collect()
}

fn read_one(section: &Section<'_>) -> UpstreamConfig {
    let servers = section.required_list::<Server>("servers");
    let servers: Vec<ServerAddress> = servers.into_iter().map(|server| server.0).collect();
    let protocol = section.optional::<Protocol>("protocol");
    let protocol = read_protocol(section, &servers, protocol.unwrap_or_default());
    let timeout = positive(section, "timeout").unwrap_or(DEFAULT_TIMEOUT);
    let part = |key: &'static str| {
        let part = positive(section, key);
        if part.is_some_and(|part| part > timeout) {
            section.wrong(key, "expected at most `timeout`, which includes it");
        }
        part
    };
    let upstream = UpstreamConfig {
        tls: read_tls(section, &servers),
        servers,
        protocol,
        balance: section
            .optional("balance")
            .map_or_else(Default::default, |Keyword(balance)| balance),
        health: read_health(section, protocol),
        connect_timeout: part("connect_timeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT.min(timeout)),
        write_timeout: part("write_timeout"),
        first_byte_timeout: part("first_byte_timeout"),
        timeout,
        max_connections: read_max_connections(section),
        max_idle: section
            .optional::<u64>("max_idle")
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(DEFAULT_MAX_IDLE),
        idle_timeout: positive(section, "idle_timeout").unwrap_or(DEFAULT_IDLE_TIMEOUT),
    };
    section.deny_unknown();
    upstream
}

fn read_protocol(
    section: &Section<'_>,
    servers: &[ServerAddress],
    protocol: Protocol,
) -> HttpVersion {
    let fits = match protocol {
        Protocol::Http1 => true,
        Protocol::H2 => servers.iter().all(|server| server.secure),
        Protocol::H2c => !servers.iter().any(|server| server.secure),
    };
    if !fits {
        section.wrong(
            "protocol",
            "expected \"h2\" with servers of https:// alone, \"h2c\" with none of them",
        );
    }
    match protocol {
        Protocol::Http1 => HttpVersion::Http1,
        Protocol::H2 | Protocol::H2c => HttpVersion::Http2,
    }
}

fn read_tls(section: &Section<'_>, servers: &[ServerAddress]) -> ClientFiles {
    let Some(tls) = section.section("tls") else {
        return ClientFiles::default();
    };
    if !servers.iter().any(|server| server.secure) {
        section.wrong("tls", "expected only with servers of https://");
    }
    let ca = tls.optional::<String>("ca").map(PathBuf::from);
    let cert = tls.optional::<String>("cert").map(PathBuf::from);
    let key = tls.optional::<String>("key").map(PathBuf::from);
    let name = tls.optional::<String>("name");
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            tls.wrong("key", "missing; expected the key of `cert`");
            None
        }
        (None, Some(_)) => {
            tls.wrong("cert", "missing; expected the certificate of `key`");
            None
        }
    };
    // Without a name, nothing would be verified.
    if name
        .as_ref()
        .is_some_and(|name| !ClientFiles::is_name(name))
    {
        tls.wrong("name", "expected the name in the servers' certificates");
    }
    tls.deny_unknown();
    ClientFiles::load(ca, identity, name).unwrap_or_else(|(key, message)| {
        tls.wrong(key, message);
        ClientFiles::default()
    })
}

fn read_max_connections(section: &Section<'_>) -> Option<usize> {
    let most = section.optional::<u64>("max_connections")?;
    if most == 0 {
        section.wrong("max_connections", "expected at least 1");
    }
    // More than that nobody has, and they are counted in requests.
    Some(usize::try_from(most).unwrap_or(usize::MAX).min(1_000_000))
}

fn read_health(section: &Section<'_>, protocol: HttpVersion) -> Option<HealthCheck> {
    let health = section.section("health")?;
    let probe = match (health.has("path"), health.has("grpc_service")) {
        (_, false) => health
            .required::<RoutePath>("path")
            .map(|path| HealthProbe::Http { path: path.0 }),
        (false, true) => health
            .optional::<String>("grpc_service")
            .map(|service| HealthProbe::Grpc { service }),
        (true, true) => {
            health.value("path");
            health.value("grpc_service");
            health.wrong("path", "expected either `path` or `grpc_service`, not both");
            None
        }
    };
    if let Some(HealthProbe::Grpc { service }) = &probe {
        if protocol != HttpVersion::Http2 {
            health.wrong(
                "grpc_service",
                "expected only with protocol = \"h2\" or \"h2c\"",
            );
        }
        if service.len() > MOST_OF_A_NAME {
            let expected = format!("expected at most {MOST_OF_A_NAME} bytes");
            health.wrong("grpc_service", expected);
        }
    }
    let interval = positive(&health, "interval").unwrap_or(Duration::from_secs(5));
    let timeout = positive(&health, "timeout").unwrap_or(Duration::from_secs(2));
    let count = |key: &'static str, default: u64| {
        let count = health.optional::<u64>(key).unwrap_or(default);
        if count == 0 {
            health.wrong(key, "expected at least 1");
        }
        usize::try_from(count).unwrap_or(usize::MAX)
    };
    let (fall, rise) = (count("fall", 3), count("rise", 2));
    health.deny_unknown();
    Some(HealthCheck {
        probe: probe?,
        interval,
        timeout,
        fall,
        rise,
    })
}

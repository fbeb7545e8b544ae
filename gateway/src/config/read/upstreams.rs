//! Reads the tables `[upstreams.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hookgate_core::internal::{Section, Value, duration_text};

use super::positive_duration;
use crate::config::values::{Keyword, Protocol, RoutePath, Server};
use crate::config::{HealthCheck, HealthProbe, HttpVersion, Inputs, ServerAddress, UpstreamConfig};
use crate::upstream::tls::ClientFiles;

/// Below the 10 s after which BeeL gives up. Providers with a shorter limit get a warning.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(8);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_MAX_IDLE: usize = 1024;
/// Below the shortest time after which a common server closes idle connections: 2 s of gunicorn.
/// `gateway.example.toml` names others. A delivery that meets the closing of its connection can be
/// repeated only if the server certainly saw none of its bytes.
const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Longest name of a gRPC service. The health check encodes its length in one byte.
const MAX_SERVICE_NAME: usize = 120;

/// Reads every upstream, by name.
pub(super) fn read(root: &Section<'_>, inputs: Inputs) -> BTreeMap<String, UpstreamConfig> {
    if !root.has("upstreams") {
        root.wrong(
            "upstreams",
            "missing; expected at least one table [upstreams.NAME]",
        );
    }
    let read = |(name, section): (&str, Section<'_>)| (name.to_owned(), read_one(&section, inputs));
    root.named_sections("upstreams")
        .into_iter()
        .map(read)
        .collect()
}

fn read_one(section: &Section<'_>, inputs: Inputs) -> UpstreamConfig {
    let servers = read_servers(section, inputs);
    let protocol = section.optional::<Protocol>("protocol");
    let http_version = http_version(section, &servers, protocol.unwrap_or_default());
    let timeout = positive_duration(section, "timeout").unwrap_or(DEFAULT_TIMEOUT);
    let part = |key: &'static str| {
        let part = positive_duration(section, key);
        if part.is_some_and(|part| part > timeout) {
            section.wrong(
                key,
                format!(
                    "longer than `timeout`, which includes this time; expected at most {}",
                    duration_text(timeout)
                ),
            );
        }
        part
    };
    let upstream = UpstreamConfig {
        tls: read_tls(section, &servers, inputs),
        servers,
        protocol: http_version,
        balance: section
            .optional("balance")
            .map_or_else(Default::default, |Keyword(balance)| balance),
        health: read_health(section, http_version),
        connect_timeout: part("connect_timeout").unwrap_or(DEFAULT_CONNECT_TIMEOUT.min(timeout)),
        write_timeout: part("write_timeout"),
        first_byte_timeout: part("first_byte_timeout"),
        timeout,
        max_connections: read_max_connections(section),
        max_idle: section
            .optional::<u64>("max_idle")
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(DEFAULT_MAX_IDLE),
        idle_timeout: positive_duration(section, "idle_timeout").unwrap_or(DEFAULT_IDLE_TIMEOUT),
    };
    section.deny_unknown();
    upstream
}

/// Reads `servers`, and resolves their names. A name that does not resolve is reported.
fn read_servers(section: &Section<'_>, inputs: Inputs) -> Vec<ServerAddress> {
    let servers = section.required_list::<Server>("servers");
    let mut servers: Vec<ServerAddress> = servers.into_iter().map(|server| server.0).collect();
    let items = section.value("servers").and_then(Value::as_array);
    // With a wrong item, which has been reported, the numbers of the others do not fit.
    let are_sound = items.is_none_or(|items| items.len() == servers.len());
    if inputs.are_read() && are_sound {
        for (index, server) in servers.iter_mut().enumerate() {
            let key = match items {
                Some(_) => format!("servers[{index}]"),
                None => "servers".to_owned(),
            };
            server
                .resolve()
                .unwrap_or_else(|message| section.wrong(&key, message));
        }
    }
    servers
}

/// Returns the HTTP version of `protocol`, and reports a protocol that does not fit the
/// servers.
fn http_version(
    section: &Section<'_>,
    servers: &[ServerAddress],
    protocol: Protocol,
) -> HttpVersion {
    let fits = match protocol {
        Protocol::Http1 => true,
        Protocol::H2 => servers.iter().all(|server| server.is_secure()),
        Protocol::H2c => !servers.iter().any(|server| server.is_secure()),
    };
    if !fits {
        section.wrong(
            "protocol",
            "does not fit `servers`; expected \"h2\" only if every server is https://, and \
             \"h2c\" only if none is",
        );
    }
    match protocol {
        Protocol::Http1 => HttpVersion::Http1,
        Protocol::H2 | Protocol::H2c => HttpVersion::Http2,
    }
}

fn read_tls(section: &Section<'_>, servers: &[ServerAddress], inputs: Inputs) -> ClientFiles {
    let Some(tls) = section.section("tls") else {
        return ClientFiles::default();
    };
    if !servers.iter().any(|server| server.is_secure()) {
        section.wrong(
            "tls",
            "allowed only if a server is https://; remove this table, or change `servers`",
        );
    }
    let ca = tls.optional::<String>("ca").map(PathBuf::from);
    let cert = tls.optional::<String>("cert").map(PathBuf::from);
    let key = tls.optional::<String>("key").map(PathBuf::from);
    let name = tls.optional::<String>("name");
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) => {
            tls.wrong(
                "key",
                "missing; expected the file with the private key of `cert`",
            );
            None
        }
        (None, Some(_)) => {
            tls.wrong(
                "cert",
                "missing; expected the file with the certificate of `key`",
            );
            None
        }
    };
    // An unusable name would disable the verification of the server's certificate.
    if name
        .as_ref()
        .is_some_and(|name| !ClientFiles::is_name(name))
    {
        tls.wrong(
            "name",
            "expected the DNS name or IP address in the certificates of the servers",
        );
    }
    tls.deny_unknown();
    ClientFiles::load(ca, identity, name, inputs).unwrap_or_else(|(key, message)| {
        tls.wrong(key, message);
        ClientFiles::default()
    })
}

fn read_max_connections(section: &Section<'_>) -> Option<usize> {
    let most = section.optional::<u64>("max_connections")?;
    if most == 0 {
        section.wrong("max_connections", "expected at least 1");
    }
    // A larger number has no effect, and the limit is multiplied by the streams of a connection
    // for HTTP/2.
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
            health.wrong(
                "path",
                "`path` and `grpc_service` are both set; expected one of them",
            );
            None
        }
    };
    if let Some(HealthProbe::Grpc { service }) = &probe {
        if protocol != HttpVersion::Http2 {
            health.wrong(
                "grpc_service",
                "allowed only with protocol = \"h2\" or \"h2c\"",
            );
        }
        if service.len() > MAX_SERVICE_NAME {
            let message = format!("longer than {MAX_SERVICE_NAME} bytes; expected a shorter name");
            health.wrong("grpc_service", message);
        }
    }
    let interval = positive_duration(&health, "interval").unwrap_or(Duration::from_secs(5));
    let timeout = positive_duration(&health, "timeout").unwrap_or(Duration::from_secs(2));
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

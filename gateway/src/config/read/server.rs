//! Reads the table `[server]` and its `[[server.tls]]` tables.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_core::internal::{Report, Section, duration_text};
use hookgate_gate::{Clock, SystemClock};
use time::OffsetDateTime;

use super::shutdown;
use crate::config::values::{Address, Cidr, Keyword};
use crate::config::{
    Inputs, MAX_SOCKETS, Network, ShutdownConfig, TlsListener, TransportAddress, TrustedProxies,
};
use crate::listener::tls::{ServerFiles, ServerTls};
use crate::telemetry::access_log::AccessLogTarget;

const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// A certificate that ends within this many seconds, 30 days, is a warning.
const SOON: i64 = 30 * 24 * 3_600;

/// The values of `[server]`, with the same meaning as in [`Config`](crate::config::Config).
pub(super) struct Server {
    pub(super) listen: Vec<TransportAddress>,
    pub(super) h2c: bool,
    pub(super) tls: Vec<TlsListener>,
    pub(super) proxy_protocol: Vec<Network>,
    pub(super) trusted_proxies: Option<TrustedProxies>,
    pub(super) admin: SocketAddr,
    pub(super) shutdown: ShutdownConfig,
    pub(super) access_log: AccessLogTarget,
}

/// Reads `[server]` and its TLS listeners.
pub(super) fn read(root: &Section<'_>, inputs: Inputs, warnings: &Report) -> Server {
    let mut server = Server {
        listen: Vec::new(),
        h2c: false,
        tls: Vec::new(),
        proxy_protocol: Vec::new(),
        trusted_proxies: None,
        admin: DEFAULT_ADMIN,
        shutdown: ShutdownConfig {
            drain_delay: Duration::ZERO,
            upgrade_socket: None,
        },
        access_log: AccessLogTarget::default(),
    };
    let Some(section) = root.required_section("server") else {
        return server;
    };
    server.admin = read_admin(&section, warnings);
    server.shutdown = shutdown::read(&section);
    server.access_log = read_access_log(&section, inputs, warnings);
    server.proxy_protocol = read_proxy_protocol(&section, warnings);
    server.trusted_proxies = TrustedProxies::read(&section, warnings);
    server.h2c = section.optional("h2c").unwrap_or(false);
    read_listeners(&section, inputs, &mut server, warnings);
    if server.shutdown.upgrade_socket.is_some()
        && server.listen.len() + server.tls.len() >= MAX_SOCKETS
    {
        section.wrong(
            "upgrade_socket",
            format!(
                "an upgrade can hand over at most {MAX_SOCKETS} sockets, including the one of \
                 `admin`; expected fewer than {MAX_SOCKETS} addresses in `listen` and \
                 [[server.tls]]"
            ),
        );
    }
    section.deny_unknown();
    server
}

fn read_access_log(section: &Section<'_>, inputs: Inputs, warnings: &Report) -> AccessLogTarget {
    let target = section
        .optional("access_log")
        .map_or_else(AccessLogTarget::default, |Keyword(target)| target);
    if let AccessLogTarget::File(path) = &target
        && let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        && inputs.are_read()
        && !folder.is_dir()
    {
        warnings.add(
            "server.access_log",
            format!(
                "the folder {} does not exist, so a start fails; create it",
                folder.display()
            ),
        );
    }
    target
}

fn read_admin(section: &Section<'_>, warnings: &Report) -> SocketAddr {
    let admin = section.optional::<Address>("admin");
    let admin = admin.map_or(DEFAULT_ADMIN, |address| address.0);
    if !admin.ip().is_loopback() {
        warnings.add(
            "server.admin",
            "other machines can reach this address, and it has no authentication; expected a \
             loopback address, or a network that only operators can reach",
        );
    }
    admin
}

fn read_proxy_protocol(section: &Section<'_>, warnings: &Report) -> Vec<Network> {
    if !section.has("proxy_protocol") {
        return Vec::new();
    }
    let networks = section.required_list::<Cidr>("proxy_protocol");
    let networks: Vec<Network> = networks.into_iter().map(|network| network.0).collect();
    if networks.iter().any(|network| network.is_all()) {
        warnings.add(
            "server.proxy_protocol",
            "every host that can connect can claim any client address; expected only the networks \
             of load balancers",
        );
    }
    networks
}

/// Reads `listen` and the `[[server.tls]]` tables, and refuses an address that is used twice.
fn read_listeners(section: &Section<'_>, inputs: Inputs, server: &mut Server, warnings: &Report) {
    let mut used = vec![TransportAddress::Tcp(server.admin)];
    let upgrade_socket = server.shutdown.upgrade_socket.as_deref();
    used.extend(upgrade_socket.map(|path| TransportAddress::Unix(path.into())));
    let mut check_unused = |section: &Section<'_>, address: TransportAddress| {
        // The system chooses a free port for port 0, so two addresses with port 0 differ.
        let has_any_port = matches!(&address, TransportAddress::Tcp(tcp) if tcp.port() == 0);
        if !has_any_port && used.contains(&address) {
            section.wrong(
                "listen",
                format!(
                    "{address} is used twice: by another `listen`, by `admin` or by \
                     `upgrade_socket`; expected each address once"
                ),
            );
        }
        used.push(address);
    };
    // `listen` is optional if there is a TLS listener.
    let listen = if section.has("tls") && !section.has("listen") {
        Vec::new()
    } else {
        section.required_list::<TransportAddress>("listen")
    };
    for address in listen {
        check_unused(section, address.clone());
        if matches!(address, TransportAddress::Unix(_)) && section.has("proxy_protocol") {
            section.wrong(
                "listen",
                format!(
                    "{address} cannot carry the PROXY protocol, because its clients have no \
                     address; remove it or `proxy_protocol`"
                ),
            );
        }
        server.listen.push(address);
    }
    for tls in section.sections("tls") {
        if let Some(listener) = read_tls(&tls, inputs, warnings) {
            check_unused(&tls, listener.listen.into());
            server.tls.push(listener);
        }
    }
}

/// Warns of a certificate that has expired, or that expires soon.
fn warn_of_expiry(section: &Section<'_>, end: UnixTime, now: UnixTime, warnings: &Report) {
    let left = end.secs().saturating_sub(now.secs());
    let day = OffsetDateTime::from_unix_timestamp(end.secs()).map(OffsetDateTime::date);
    let day = day.map_or_else(|_| end.secs().to_string(), |day| day.to_string());
    let message = match left {
        ..=0 => format!("the certificate expired on {day}, so senders refuse it; renew it"),
        1..SOON => format!(
            "the certificate expires on {day}, in {}; renew it",
            duration_text(Duration::from_secs(left.unsigned_abs() / 3_600 * 3_600))
        ),
        _ => return,
    };
    warnings.add(section.key_path("cert"), message);
}

fn read_tls(section: &Section<'_>, inputs: Inputs, warnings: &Report) -> Option<TlsListener> {
    let listen = section.required::<Address>("listen");
    let cert = section.required::<String>("cert");
    let key = section.required::<String>("key");
    let client_ca = section.optional::<String>("client_ca");
    section.deny_unknown();
    let files = ServerFiles {
        cert: cert?.into(),
        key: key?.into(),
        client_ca: client_ca.map(PathBuf::from),
    };
    let tls = ServerTls::load(files, inputs)
        .map_err(|(key, message)| section.wrong(key, message))
        .ok()?;
    if let Some(certificate) = tls.certificate() {
        warn_of_expiry(section, certificate.not_after, SystemClock.now(), warnings);
    }
    Some(TlsListener {
        listen: listen?.0,
        tls: Arc::new(tls),
    })
}
